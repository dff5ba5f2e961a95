/**
 * The breaker that stands in while the server cannot be asked. Pure: `now` is an argument, in milliseconds.
 *
 * One rule, the same in the clients of all languages: so many failures in a row, all young enough, open it; after the
 * open period one probe decides.
 */
import type { Outcome, State } from "./options.js";

export const FAILURE_THRESHOLD = 5;
export const OPEN_DURATION_MS = 30_000;
/** A probe that nobody reported for so long counts as a failure. */
const PROBE_LEASE_MS = 60_000;
/** What a caller is told to wait while the probe is out. */
const PROBE_RETRY_AFTER_MS = 1_000;
export const RETRY_AFTER_MIN_MS = 10;

/** What opens the local breaker; taken from the policy in force. */
export interface LocalRule {
  failureThreshold: number;
  /** 0: failures in a row never get too old. */
  monitoringPeriodMs: number;
  openDurationMs: number;
}

export const DEFAULT_RULE: LocalRule = {
  failureThreshold: FAILURE_THRESHOLD,
  monitoringPeriodMs: 0,
  openDurationMs: OPEN_DURATION_MS,
};

/** When the last failures without a success in between happened, oldest first: as many as open a breaker. */
export class Run {
  #at: number[] = [];

  [Symbol.iterator](): Iterator<number> {
    return this.#at[Symbol.iterator]();
  }

  /** One more failure. */
  add(now: number, rule: LocalRule): void {
    this.#at.push(now);
    if (this.#at.length > rule.failureThreshold) {
      this.#at.splice(0, this.#at.length - rule.failureThreshold);
    }
  }

  clear(): void {
    this.#at.length = 0;
  }

  /** It is as long as the threshold. */
  reaches(rule: LocalRule): boolean {
    return this.#at.length >= rule.failureThreshold;
  }

  /** When it opened a breaker: with its last failure, where it is long and young enough. */
  trippedAt(rule: LocalRule): number | undefined {
    const last = this.#at.at(-1);
    if (last === undefined || !this.reaches(rule)) {
      return undefined;
    }
    const isYoung = !rule.monitoringPeriodMs || last - this.#at.at(-rule.failureThreshold)! < rule.monitoringPeriodMs;
    return isYoung ? last : undefined;
  }
}

/** The local breaker's no. */
export interface LocalRejection {
  reason: "open" | "half_open_full";
  retryAfterMs: number;
  state: State;
}

/**
 * Closed, open or half-open, by what this process sees itself. A permit is the number of the stretch that it was given
 * in: every move begins another, and an outcome of an earlier one moves nothing.
 */
export class LocalBreaker {
  #state: State = "closed";
  #stretch = 0;
  #failures = new Run();
  #openUntil = 0;
  #probeSince: number | undefined;

  constructor(private readonly rule: LocalRule) {}

  /** One that starts where the breaker was last known to stand: a closed one with the failures of the run. */
  static standing(
    rule: LocalRule,
    state: State,
    openUntil: number,
    now: number,
    run: Iterable<number> = [],
  ): LocalBreaker {
    const local = new LocalBreaker(rule);
    if (state === "open" && openUntil > now) {
      local.#state = "open";
      local.#openUntil = openUntil;
    } else if (state !== "closed") {
      local.#state = "half_open";
    } else {
      for (const at of run) {
        local.#failures.add(at, rule);
      }
      const trippedAt = local.#failures.trippedAt(rule);
      if (trippedAt !== undefined) {
        local.#open(trippedAt);
      }
    }
    return local;
  }

  /** It permits every call. */
  get isClosed(): boolean {
    return this.#state === "closed";
  }

  /** A permit, or why not. */
  acquire(now: number): number | LocalRejection {
    this.#passTime(now);
    if (this.#state === "closed") {
      return this.#stretch;
    }
    if (this.#state === "open") {
      return { reason: "open", retryAfterMs: Math.max(this.#openUntil - now, RETRY_AFTER_MIN_MS), state: "open" };
    }
    if (this.#probeSince !== undefined) {
      return { reason: "half_open_full", retryAfterMs: PROBE_RETRY_AFTER_MS, state: "half_open" };
    }
    this.#probeSince = now;
    return this.#stretch;
  }

  /** How a permitted call went. `ignored` also for a failure of the caller's own making. */
  report(permit: number, outcome: Outcome, now: number): void {
    this.#passTime(now);
    if (permit !== this.#stretch) {
      return;
    }
    if (this.#state === "closed") {
      this.observe(outcome, now);
    } else if (this.#state === "half_open") {
      if (outcome === "failure" || outcome === "timeout") {
        this.#open(now);
      } else if (outcome === "success") {
        this.#move("closed");
      } else {
        this.#probeSince = undefined;
      }
    }
  }

  /** How a call went that had no permit of this breaker. */
  observe(outcome: Outcome, now: number): void {
    if (this.#state !== "closed") {
      return;
    }
    if (outcome === "success") {
      this.#failures.clear();
    } else if (outcome === "failure" || outcome === "timeout") {
      this.#failures.add(now, this.rule);
      if (this.#failures.trippedAt(this.rule) !== undefined) {
        this.#open(now);
      }
    }
  }

  /** The state at `now`. */
  stateAt(now: number): State {
    this.#passTime(now);
    return this.#state;
  }

  #passTime(now: number): void {
    if (this.#state === "half_open" && this.#probeSince !== undefined && now - this.#probeSince >= PROBE_LEASE_MS) {
      this.#open(this.#probeSince + PROBE_LEASE_MS);
    }
    if (this.#state === "open" && now >= this.#openUntil) {
      this.#move("half_open");
    }
  }

  #open(now: number): void {
    this.#move("open");
    this.#openUntil = now + this.rule.openDurationMs;
  }

  #move(state: State): void {
    this.#state = state;
    this.#stretch += 1;
    this.#failures.clear();
    this.#probeSince = undefined;
  }
}
