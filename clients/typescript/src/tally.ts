/** Calls that were decided here and not told yet. Pure. */
import type { Tally as PbTally } from "./gen/fuseboard/v1/breaker_service.js";
import type { Outcome } from "./options.js";
import { durationOf } from "./view.js";

/** The most that one count of a tally may say. */
export const COUNT_MAX = 1_000_000;
const AGE_MAX_MS = 3_600_000;
const RETRY_AFTER_MAX_MS = 86_400_000;

/** The calls to one breaker under one pair of generations. */
export class Tally {
  successes = 0;
  failures = 0;
  timeouts = 0;
  slow = 0;
  ignored = 0;
  rejections = 0;
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
      this.trailingFailures += 1;
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
      rejections: Math.min(this.rejections, COUNT_MAX),
      trailingFailures: this.trailingFailures,
      localFailures: this.localFailures,
      retryAfter: this.retryAfterMs ? durationOf(Math.min(this.retryAfterMs, RETRY_AFTER_MAX_MS)) : undefined,
    };
  }
}
