/** Calls that were decided here and not told yet. Pure. */
import type { Tally as PbTally } from "./gen/fuseboard/v1/breaker_service.js";
import type { Outcome } from "./options.js";
import { durationOf } from "./view.js";

/** The most that one count of a tally may say. */
export const COUNT_MAX = 1_000_000;
/** What a pending tally counts as, besides its breaker's key. */
export const TALLY_BYTES = 256;
/** A client's pending tallies beyond the one of each breaker that always has its place. */
export const EXTRA_BYTES_MAX = 512 * 1024;
const AGE_MAX_MS = 3_600_000;
const RETRY_AFTER_MAX_MS = 86_400_000;

/** The room that a client's pending tallies share, beyond the one of each breaker. */
export class Budget {
  used = 0;

  /** Whether there is room for so many bytes; they are then in use. */
  take(bytes: number): boolean {
    const isRoom = this.used + bytes <= EXTRA_BYTES_MAX;
    this.used += isRoom ? bytes : 0;
    return isRoom;
  }

  giveBack(bytes: number): void {
    this.used -= bytes;
  }
}

/** The calls to one breaker under one pair of generations. */
export class Tally {
  successes = 0;
  failures = 0;
  timeouts = 0;
  slow = 0;
  ignored = 0;
  rejections = 0;
  /** Runs of failures and timeouts: before the first success, */
  leadingFailures = 0;
  /** the longest without a success in between, */
  longestRun = 0;
  /** and after the last success. */
  trailingFailures = 0;
  localFailures = 0;
  retryAfterMs = 0;

  constructor(
    readonly generation: number,
    readonly callerGeneration: number,
    /** When the first of them ended. */
    readonly since: number,
  ) {}

  /** Outcomes in it; rejections are none. */
  get calls(): number {
    return this.successes + this.failures + this.timeouts + this.ignored + this.localFailures;
  }

  /** One of its counts is at its bound. */
  get isFull(): boolean {
    return this.calls >= COUNT_MAX || this.rejections >= COUNT_MAX;
  }

  /** One more call. */
  add(outcome: Outcome, slow: boolean, local: boolean, retryAfterMs: number): void {
    const failed = outcome === "failure" || outcome === "timeout";
    if (failed && local) {
      this.localFailures += 1;
      return;
    }
    if (outcome === "success") {
      this.successes += 1;
      this.trailingFailures = 0;
    } else if (failed) {
      this.leadingFailures += this.successes ? 0 : 1;
      this.trailingFailures += 1;
      this.longestRun = Math.max(this.longestRun, this.trailingFailures);
      this.retryAfterMs = Math.max(this.retryAfterMs, retryAfterMs);
      if (outcome === "timeout") {
        this.timeouts += 1;
      } else {
        this.failures += 1;
      }
    } else {
      this.ignored += 1;
      return;
    }
    this.slow += slow ? 1 : 0;
  }

  /** As it is sent at `now`. */
  toPb(breaker: string, caller: string, now: number): PbTally {
    return {
      breaker,
      caller,
      generation: this.generation,
      callerGeneration: this.callerGeneration,
      age: durationOf(Math.min(Math.max(now - this.since, 0), AGE_MAX_MS)),
      successes: this.successes,
      failures: this.failures,
      timeouts: this.timeouts,
      slow: this.slow,
      ignored: this.ignored,
      rejections: this.rejections,
      leadingFailures: this.leadingFailures,
      longestRun: this.longestRun,
      trailingFailures: this.trailingFailures,
      localFailures: this.localFailures,
      retryAfter: this.retryAfterMs ? durationOf(Math.min(this.retryAfterMs, RETRY_AFTER_MAX_MS)) : undefined,
    };
  }
}
