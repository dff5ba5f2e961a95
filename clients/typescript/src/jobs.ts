/** Scheduled jobs under a breaker, with any library that calls a function at its time. */
import type { Breaker } from "./breaker.js";
import { RejectedError } from "./errors.js";

export interface JobOptions {
  /** False: the job runs whatever the breaker says, and is not reported. Default: true. */
  enableCircuitBreaker?: boolean;
  /** Attempts after the first that failed, each a call of its own to the breaker. Default: 0. */
  maxRetries?: number;
  /** Between two attempts, doubled each time. Default: 1,000. */
  retryDelayMs?: number;
  /** Told of a run that was left out, because the breaker rejected it. Default: nothing. */
  onSkipped?: (error: RejectedError) => void;
  /** Told of a run that failed for good. Default: it is thrown, to the scheduler. */
  onFailed?: (error: unknown) => void;
}

/**
 * The job, guarded: `cron.schedule("* * * * *", scheduled(breaker, job))`. A run that the breaker rejects is left out; it
 * is not tried again before its next time.
 */
export function scheduled<A extends unknown[]>(
  breaker: Breaker,
  job: (...args: A) => unknown,
  { enableCircuitBreaker = true, maxRetries = 0, retryDelayMs = 1_000, onSkipped, onFailed }: JobOptions = {},
): (...args: A) => Promise<void> {
  return async (...args) => {
    for (let attempt = 0; ; attempt += 1) {
      try {
        await (enableCircuitBreaker ? breaker.execute(() => job(...args)) : job(...args));
        return;
      } catch (error) {
        if (error instanceof RejectedError && error.breaker === breaker.key) {
          onSkipped?.(error);
          return;
        }
        if (attempt >= maxRetries) {
          if (!onFailed) {
            throw error;
          }
          onFailed(error);
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, retryDelayMs * 2 ** attempt));
      }
    }
  };
}
