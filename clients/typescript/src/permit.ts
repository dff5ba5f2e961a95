/** Leave for one call. */
import type { Breaker } from "./breaker.js";
import type { Yes } from "./guard.js";
import type { Outcome, Source, Verdict } from "./options.js";

// Node 20 has no Symbol.dispose; `using` needs one.
(Symbol as { dispose?: symbol }).dispose ??= Symbol.for("Symbol.dispose");
(Symbol as { asyncDispose?: symbol }).asyncDispose ??= Symbol.for("Symbol.asyncDispose");

/** What is told of a call besides its outcome. */
export interface Details extends Omit<Verdict, "outcome"> {
  /** Default: since the permit was given. */
  durationMs?: number;
}

/** Permits that were lost without a report are cancelled, whenever the collector finds them. */
const forgotten = new FinalizationRegistry<() => void>((cancel) => cancel());

/**
 * Reported once. Left without a report it is `cancelled`: at the end of its block with `using`, else when it is
 * collected.
 */
export class Permit {
  /** Who permitted it. */
  readonly source: Source;
  readonly #start: number;
  #tell: ((verdict: Verdict, durationMs: number) => Promise<void>) | undefined;
  readonly #clock: () => number;

  /** @internal */
  constructor(breaker: Breaker, yes: Yes, clock: () => number) {
    this.source = yes.source;
    this.#clock = clock;
    this.#start = clock();
    this.#tell = (verdict, durationMs) => breaker.tellAndWait(yes, verdict, durationMs);
    forgotten.register(this, () => void breaker.tellAndWait(yes, { outcome: "cancelled" }, 0), this);
  }

  /** The dependency answered as it should. */
  success(): Promise<void> {
    return this.report("success");
  }

  /** The dependency failed. */
  failure(details?: Details): Promise<void> {
    return this.report("failure", details);
  }

  /** The dependency did not answer in time. */
  timeout(details?: Details): Promise<void> {
    return this.report("timeout", details);
  }

  /** The call says nothing about the dependency. */
  ignored(): Promise<void> {
    return this.report("ignored");
  }

  /** The call was never finished. */
  cancelled(): Promise<void> {
    return this.report("cancelled");
  }

  /** How the call went. Done when a failure, or a probe's outcome, was answered. Reporting twice does nothing. */
  async report(outcome: Outcome, { durationMs, ...details }: Details = {}): Promise<void> {
    const tell = this.#tell;
    this.#tell = undefined;
    if (tell) {
      forgotten.unregister(this);
      await tell({ outcome, ...details }, durationMs ?? this.#clock() - this.#start);
    }
  }

  [Symbol.dispose](): void {
    void this.cancelled();
  }
}
