/** Policies to start from, and a breaker that tightens itself. */
import type { Breaker, CallContext } from "./breaker.js";
import type { Client } from "./client.js";
import type { BreakerOptions, CallOptions, Policy } from "./options.js";

/** See docs/guide.md for what each is good for. */
export const presets = {
  fast: { failureThreshold: 2, openDurationMs: 5_000 },
  slow: { failureThreshold: 10, openDurationMs: 300_000 },
  sensitive: { failureThreshold: 1, openDurationMs: 60_000 },
  tolerant: { failureThreshold: 20, openDurationMs: 10_000 },
} as const satisfies Record<string, Policy>;

/** What an adaptive breaker goes by. */
export interface AdaptiveOptions extends Omit<BreakerOptions, "policy" | "revision"> {
  /** The policy to begin with. */
  policy: Policy;
  /** Default: 3 failures, 60 s. */
  tightened?: Policy;
  /** Calls of the whole fleet before it is judged. Default: 100. */
  minimumCalls?: number;
  /** Share of failed calls above which it tightens. Default: 0.5. */
  failureRate?: number;
}

const CHECK_EVERY = 20;

/**
 * A breaker that declares a tighter policy once too many of the fleet's calls have failed. It goes by the server's totals,
 * so all replicas come to the same, and a declaration with a higher revision loses no state, whoever declares it first.
 */
export class AdaptiveBreaker {
  readonly breaker: Breaker;
  readonly #tightened: Policy;
  readonly #minimumCalls: number;
  readonly #failureRate: number;
  #calls = 0;
  #isTight = false;

  constructor(client: Client, key: string, options: AdaptiveOptions) {
    const { tightened, minimumCalls, failureRate, ...rest } = options;
    this.breaker = client.breaker(key, { ...rest, revision: 1 });
    this.#tightened = tightened ?? { failureThreshold: 3, openDurationMs: 60_000 };
    this.#minimumCalls = minimumCalls ?? 100;
    this.#failureRate = failureRate ?? 0.5;
  }

  /** It has tightened. */
  get isTight(): boolean {
    return this.#isTight;
  }

  /** As `Breaker.execute`. */
  async execute<T>(call: (context: CallContext) => T | PromiseLike<T>, options?: CallOptions<T>): Promise<T> {
    try {
      return await this.breaker.execute(call, options);
    } finally {
      this.#calls += 1;
      if (!this.#isTight && this.#calls % CHECK_EVERY === 0) {
        // Nobody's call waits for that.
        void this.adapt();
      }
    }
  }

  /** Looks at the fleet's totals, and tightens where it is time. Without a server nothing changes. */
  async adapt(): Promise<void> {
    try {
      const { totals, policy } = await this.breaker.state();
      const failures = totals?.failures ?? 0;
      const calls = failures + (totals?.successes ?? 0);
      const isTime = calls >= this.#minimumCalls && failures / calls > this.#failureRate;
      if (isTime && (policy?.declaredRevision ?? 0) < 2) {
        await this.breaker.declare(this.#tightened, 2);
      }
      this.#isTight = isTime || (policy?.declaredRevision ?? 0) >= 2;
    } catch {
      // It is looked at again after more calls.
    }
  }
}
