/**
 * One breaker as a client keeps it: the view, the tally, the local breaker, and how they decide. No I/O and no clock:
 * `now` is an argument.
 */
import type { Declaration } from "./gen/fuseboard/v1/breaker_service.js";
import { DEFAULT_RULE, LocalBreaker, type LocalRule } from "./local.js";
import type { Mode, Outcome, RejectionReason, Source, State, WhenUnavailable } from "./options.js";
import { COUNT_MAX, Tally } from "./tally.js";
import { closed, keepScope, permits, rejects, type View } from "./view.js";

/** A tally that could not be sent for so long, once it was due, is dropped. */
const TALLY_AGE_MAX_MS = 10_000;
/** Tallies of earlier generations that wait to be sent with the next batch. */
const EARLIER_MAX = 8;

/** What the decisions have to know of the connection, which keeps it true. */
export interface LinkState {
  /** When a watch last said something. */
  heardAt: number;
  /** The session answers in time. */
  usable: boolean;
  /** The client was closed: nothing is believed and nothing told any more. */
  closed: boolean;
}

/** A rejection: why, for how long, in which state, and by whose word. */
export class No {
  constructor(
    readonly reason: RejectionReason,
    readonly retryAfterMs: number,
    readonly state: State | undefined,
    readonly source: Source,
  ) {}
}

/** Leave for one call, and where its outcome goes. */
export class Yes {
  constructor(
    readonly source: Source,
    /** Where it was decided here: the generations it is tallied under. */
    readonly view?: View,
    /** Where the local breaker permitted it. */
    readonly local?: LocalBreaker,
    readonly localPermit = 0,
    /** Where the server permitted it. */
    readonly permit?: Uint8Array,
    readonly leaseMs = 0,
    readonly isProbe = false,
  ) {}
}

type Counts = Record<Source, number>;
const noCounts = (): Counts => ({ cached: 0, server: 0, local: 0, unavailable: 0 });

/** One breaker's memory in a client. */
export class Guard {
  /** What is known. Replaced, never changed. */
  view: View | undefined;
  /** A watch that names the breaker has spoken. */
  covered = false;
  /** Sequence of the last event that a watch told of it. */
  heard = 0;
  rule: LocalRule = DEFAULT_RULE;
  /** Calls that take at least so long are slow. 0: none is. */
  slowAfterMs = 0;
  /** What is declared with each session. */
  declared: Declaration | undefined;
  /** Failures in a row that this client has seen, since the last success or move. */
  failuresInARow = 0;
  /** Something waits to be sent, and `note` was called for it. */
  noted = false;
  note: (guard: Guard) => void = () => {};
  dropped = 0;
  readonly permits = noCounts();
  readonly rejections = noCounts();
  #local: LocalBreaker | undefined;
  #tally: Tally | undefined;
  #earlier: Tally[] = [];
  /** The same answer for every call that this view permits. */
  #yes = new Yes("cached");

  constructor(
    readonly key: string,
    readonly link: LinkState,
    readonly mode: Mode,
    readonly whenUnavailable: WhenUnavailable,
    readonly maxStalenessMs: number,
    readonly reportIntervalMs = 100,
  ) {}

  // Deciding.

  /** What is known is recent enough to permit calls. */
  fresh(now: number): boolean {
    return this.covered && now - this.link.heardAt <= this.maxStalenessMs;
  }

  /** Permits or rejects; `undefined` where the server has to be asked. */
  decide(now: number): Yes | No | undefined {
    const view = this.view;
    if (view === undefined || this.mode !== "cached" || this.link.closed) {
      return undefined;
    }
    if (!permits(view) || !this.fresh(now)) {
      return this.#refuse(view, now);
    }
    if (!this.link.usable && this.whenUnavailable === "local") {
      return this.#standIn(now, view);
    }
    if (this.#yes.view !== view) {
      this.#yes = new Yes("cached", view);
    }
    this.permits.cached += 1;
    return this.#yes;
  }

  #refuse(view: View, now: number): No | undefined {
    const refused = rejects(view, now);
    if (refused === undefined) {
      return undefined;
    }
    this.#current(view, now).rejections += 1;
    this.#note();
    this.rejections.cached += 1;
    return new No(refused.reason, refused.retryAfterMs, view.state, "cached");
  }

  /** The decision where the server cannot be asked. */
  withoutServer(now: number, retryAfterMs = 1_000): Yes | No {
    if (this.whenUnavailable === "local") {
      return this.#standIn(now, undefined);
    }
    if (this.whenUnavailable === "permit") {
      this.permits.unavailable += 1;
      return new Yes("unavailable");
    }
    this.rejections.unavailable += 1;
    return new No("unavailable", retryAfterMs, this.view?.state, "unavailable");
  }

  #standIn(now: number, view: View | undefined): Yes | No {
    const local = this.#standInOf(now);
    const answer = local.acquire(now);
    if (typeof answer !== "number") {
      this.rejections.local += 1;
      return new No(answer.reason, answer.retryAfterMs, answer.state, "local");
    }
    const source = view ? "cached" : "local";
    this.permits[source] += 1;
    return new Yes(source, view, local, answer);
  }

  #standInOf(now: number): LocalBreaker {
    const view = this.view;
    this.#local ??= LocalBreaker.standing(this.rule, view?.state ?? "closed", view?.openUntil ?? 0, now);
    return this.#local;
  }

  /** The state as this process sees it: the local breaker's while that stands in. */
  stateAt(now: number): State {
    const local = this.link.usable ? undefined : this.#local;
    return local ? local.stateAt(now) : (this.view?.state ?? "closed");
  }

  /** Closed from now on, until the server says otherwise: its answer to the reset has a higher generation. */
  closeHere(): void {
    this.#local = undefined;
    this.failuresInARow = 0;
    if (this.view) {
      this.view = { ...closed(this.view.generation), policyVersion: this.view.policyVersion };
    }
  }

  /** The server decides again, or was told to reset. */
  forgetLocal(): void {
    this.#local = undefined;
  }

  // Outcomes.

  /** Takes the outcome of a call that was decided here. True: it is to be told at once. */
  settle(yes: Yes, outcome: Outcome, now: number, durationMs = 0, local = false, retryAfterMs = 0): boolean {
    const { view, link } = { view: yes.view, link: this.link };
    const failed = outcome === "failure" || outcome === "timeout";
    if (yes.local) {
      yes.local.report(yes.localPermit, local ? "ignored" : outcome, now);
    } else if (view && !link.usable && this.whenUnavailable === "local") {
      this.#standInOf(now).observe(local ? "ignored" : outcome, now);
    }
    if (!view) {
      return false;
    }
    if (link.closed) {
      this.dropped += 1;
      return false;
    }
    const slow = this.slowAfterMs > 0 && durationMs >= this.slowAfterMs;
    this.#current(view, now).add(outcome, slow, local, retryAfterMs);
    this.#note();
    return failed;
  }

  #current(view: View, now: number): Tally {
    const tally = this.#tally;
    if (tally) {
      const isSame = tally.generation === view.generation && tally.callerGeneration === view.callerGeneration;
      if (isSame && tally.calls < COUNT_MAX) {
        return tally;
      }
      this.#earlier.push(tally);
      if (this.#earlier.length > EARLIER_MAX) {
        this.dropped += this.#earlier.shift()!.calls;
      }
    }
    this.#tally = new Tally(view.generation, view.callerGeneration, now);
    return this.#tally;
  }

  #note(): void {
    if (!this.noted) {
      this.noted = true;
      this.note(this);
    }
  }

  /** What waits to be told, oldest first; too old ones are dropped and counted. */
  take(now: number): Tally[] {
    this.expire(now);
    const tallies = this.#tally ? [...this.#earlier, this.#tally] : this.#earlier;
    this.#earlier = [];
    this.#tally = undefined;
    this.noted = false;
    return tallies;
  }

  /** Drops tallies that have got too old, and counts them. */
  expire(now: number): void {
    const ageMax = this.reportIntervalMs + TALLY_AGE_MAX_MS;
    if (this.#tally && now - this.#tally.since > ageMax) {
      this.#earlier.push(this.#tally);
      this.#tally = undefined;
    }
    while (this.#earlier[0] && now - this.#earlier[0].since > ageMax) {
      this.dropped += this.#earlier.shift()!.calls;
    }
  }

  // What the server says.

  /** What the server has told, unless something newer is known. */
  learn(view: View): void {
    const known = this.view;
    if (known && view.generation < known.generation) {
      return;
    }
    if (known && view.generation > known.generation) {
      this.failuresInARow = 0;
    }
    this.view = known && view.callerGeneration < known.callerGeneration ? keepScope(view, known) : view;
  }

  /** Nothing is known any more. */
  forget(): void {
    this.view = undefined;
  }
}
