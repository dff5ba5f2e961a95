/** One breaker: `execute`, and the two steps by hand. */
import { EventEmitter } from "node:events";
import type { Client, ClientEvents } from "./client.js";
import { CallTimeoutError, RejectedError, ServerError } from "./errors.js";
import type { BreakerEvent } from "./events.js";
import type { GetStateResponse } from "./gen/fuseboard/v1/breaker_service.js";
import type { PolicyInForce } from "./gen/fuseboard/v1/policy.js";
import { type Guard, No, type Yes } from "./guard.js";
import type { BreakerOptions, CallOptions, Classify, Policy, State, Verdict } from "./options.js";
import { Permit } from "./permit.js";
import { within } from "./timer.js";
import { OUTCOMES, policyOf } from "./wire.js";

/** What a guarded call gets. */
export interface CallContext {
  /** Aborted when the call's time is up or its user has ended it. */
  signal: AbortSignal;
}

/** What is known of a breaker, read from memory. */
export interface BreakerView {
  state: State;
  generation: number;
  callerState: State;
  override: "" | "forced_open" | "forced_closed" | "shadow";
  /** Recent enough to permit calls. */
  fresh: boolean;
}

const NEVER = new AbortController().signal;
const SUCCESS: Verdict = { outcome: "success" };
const MOVES = { opened: "open", half_opened: "halfOpen", closed: "closed", reset: "reset" } as const;

/** One breaker. Get it from a client once, and keep it. */
export class Breaker extends EventEmitter<ClientEvents> {
  constructor(
    private readonly client: Client,
    private readonly guard: Guard,
    private readonly options: BreakerOptions,
  ) {
    super();
  }

  /** Key of the breaker. */
  get key(): string {
    return this.guard.key;
  }

  /**
   * Makes the call if the breaker permits it, and reports how it went. Rejects with a `RejectedError` where it was
   * rejected, with a `CallTimeoutError` where it took too long, and else with the call's own error; with a fallback,
   * with nothing but what that throws.
   */
  async execute<T>(call: (context: CallContext) => T | PromiseLike<T>, options?: CallOptions<T>): Promise<T> {
    const { client } = this;
    const fallback = options?.fallback ?? (this.options.fallback as CallOptions<T>["fallback"]);
    const classify = options?.classify ?? this.options.classify;
    const timeoutMs = options?.timeoutMs ?? this.options.timeoutMs;
    const signal = options?.signal;
    if (this.guard.awaited) {
      await this.#awaitDecisive();
    }
    let start = client.clock();
    let decision = this.guard.decide(start);
    if (decision === undefined) {
      decision = await this.#ask();
      start = client.clock();
    }
    this.#decided(decision);
    if (decision instanceof No) {
      const rejected = this.#rejected(decision);
      if (fallback) {
        return fallback(rejected);
      }
      throw rejected;
    }
    let result: Awaited<T> | undefined;
    try {
      result =
        timeoutMs === undefined && !signal ? await call({ signal: NEVER }) : await limited(call, timeoutMs, signal);
    } catch (error) {
      const verdict = this.#judgeError(classify, error, signal);
      await this.#tellAndWait(decision, verdict, client.clock() - start);
      if (fallback) {
        return fallback(error);
      }
      throw error;
    }
    const verdict = classify ? (this.#classified(classify, undefined, result) ?? SUCCESS) : SUCCESS;
    const told = this.tell(decision, verdict, client.clock() - start);
    if (told) {
      await this.#wait(told);
    }
    return result as T;
  }

  /** The function, guarded: what it is given goes to the call. */
  wrap<A extends unknown[], T>(
    call: (...args: A) => T | PromiseLike<T>,
    options?: CallOptions<T>,
  ): (...args: A) => Promise<T> {
    return (...args) => this.execute(() => call(...args), options);
  }

  /** Leave for one call, to be reported by hand: `using permit = await breaker.acquire()`. */
  async acquire(): Promise<Permit> {
    if (this.guard.awaited) {
      await this.#awaitDecisive();
    }
    const decision = this.guard.decide(this.client.clock()) ?? (await this.#ask());
    this.#decided(decision);
    if (decision instanceof No) {
      throw this.#rejected(decision);
    }
    return this.#permit(decision);
  }

  /**
   * The same where memory decides; `undefined` where the server would have to be asked, or its answer to an outcome that
   * may have tripped the breaker is under way.
   */
  tryAcquire(): Permit | undefined {
    if (this.guard.awaited && this.client.link.usable) {
      return undefined;
    }
    const decision = this.guard.decide(this.client.clock());
    if (decision) {
      this.#decided(decision);
    }
    if (decision instanceof No) {
      throw this.#rejected(decision);
    }
    return decision && this.#permit(decision);
  }

  /** What is known of the breaker, read from memory. */
  view(): BreakerView | undefined {
    const { view } = this.guard;
    return (
      view && {
        state: view.state,
        generation: view.generation,
        callerState: view.callerState,
        override: view.override,
        fresh: this.guard.fresh(this.client.clock()),
      }
    );
  }

  /** @internal State and failures in a row as this process sees them, whoever decides at the moment. */
  memory(): { state: State; failures: number; isAway: boolean } {
    const isAway = !this.client.link.usable;
    return { state: this.guard.stateAt(this.client.clock()), failures: this.guard.failuresInARow, isAway };
  }

  /** @internal A reset that acts here at once and is sent. */
  resetHere(): void {
    this.guard.closeHere();
    this.reset().catch((error) => this.client.warn("a reset was not heard", error));
  }

  /** All about the breaker, asked from the server. Rejects with a `ServerError`, `BreakerNotFoundError` among them. */
  state(): Promise<GetStateResponse> {
    return this.#connection().then((connection) => connection.state(this.key));
  }

  /** Closes the breaker, for all, with empty statistics. Rejects as `state` does. */
  async reset(reason = "", actor = ""): Promise<void> {
    this.guard.forgetRun();
    await (await this.#connection()).reset(this.key, reason, actor);
  }

  /** Declares another policy; what is in force comes back. State and statistics stay. */
  async declare(policy: Policy, revision: number): Promise<PolicyInForce> {
    this.guard.declared = { breaker: this.key, policy: policyOf(policy), revision };
    return (await this.#connection()).declare(this.guard);
  }

  /** @internal Takes a call's outcome and starts the telling; what comes back can be waited for. */
  tell(yes: Yes, verdict: Verdict, durationMs: number): Promise<void> | undefined {
    const { client, guard } = this;
    const failed = verdict.outcome === "failure" || verdict.outcome === "timeout";
    if (verdict.outcome === "success") {
      guard.failuresInARow = 0;
    } else if (failed && !verdict.local) {
      guard.failuresInARow += 1;
    }
    client.observe((observer) => observer.reported?.(this.key, verdict.outcome, durationMs));
    if (yes.source === "server") {
      const { connection } = client;
      if (!connection) {
        client.countLost();
        return undefined;
      }
      const isDecisive = guard.record(yes, verdict.local ? "ignored" : verdict.outcome, client.clock());
      const told = connection.session.report(guard, yes, verdict, durationMs);
      if (isDecisive || yes.isProbe) {
        this.#await(told);
      }
      return client.link.usable && (yes.isProbe || failed) ? told : undefined;
    }
    const now = client.clock();
    const telling = guard.settle(yes, verdict.outcome, now, durationMs, verdict.local, verdict.retryAfterMs ?? 0);
    if (!yes.view) {
      client.countUnreported();
    }
    if ((telling !== "at_once" && telling !== "decisive") || !client.link.usable) {
      return undefined;
    }
    const told = client.connection?.session.tell();
    if (told && telling === "decisive") {
      this.#await(told);
    }
    return told;
  }

  /** The next acquire waits for this answer. */
  #await(told: Promise<void>): void {
    const { guard } = this;
    guard.awaited = told;
    void told.then(() => {
      if (guard.awaited === told) {
        guard.awaited = undefined;
      }
    });
  }

  /** Waits for the answer to the last decisive outcome, as `execute` does, once for each. */
  async #awaitDecisive(): Promise<void> {
    const { awaited } = this.guard;
    const { link, settings } = this.client;
    if (awaited && link.usable && !link.closed && settings.reportTimeoutMs > 0) {
      await this.#wait(awaited);
      if (this.guard.awaited === awaited) {
        this.guard.awaited = undefined;
      }
    }
  }

  /** @internal */
  async tellAndWait(yes: Yes, verdict: Verdict, durationMs: number): Promise<void> {
    await this.#tellAndWait(yes, verdict, durationMs);
  }

  /** @internal */
  hear(event: BreakerEvent): void {
    this.emit("event", event);
    const name = MOVES[event.kind as keyof typeof MOVES];
    if (name) {
      this.emit(name, event);
    }
  }

  #decided(decision: Yes | No): void {
    if (this.client.observer.decided) {
      const permitted = !(decision instanceof No);
      this.client.observe((observer) => observer.decided?.(this.key, permitted, decision.source));
    }
  }

  #permit(yes: Yes): Permit {
    return new Permit(this, yes, this.client.clock);
  }

  #rejected({ reason, retryAfterMs, state, source }: No): RejectedError {
    return new RejectedError(this.key, reason, retryAfterMs, state, source);
  }

  async #connection() {
    const { connection } = this.client;
    if (!connection) {
      throw new ServerError("the client is closed");
    }
    return connection;
  }

  async #ask(): Promise<Yes | No> {
    const answer = await this.client.connection?.session.ask(this.guard);
    return answer ?? this.guard.withoutServer(this.client.clock());
  }

  async #tellAndWait(yes: Yes, verdict: Verdict, durationMs: number): Promise<void> {
    const told = this.tell(yes, verdict, durationMs);
    if (told) {
      await this.#wait(told);
    }
  }

  /** Waits for the answer to a report, at most `reportTimeoutMs`. */
  async #wait(told: Promise<void>): Promise<void> {
    const isTold = await within(
      told.then(() => true),
      this.client.settings.reportTimeoutMs,
    );
    if (!isTold) {
      this.client.connection?.session.missed();
    }
  }

  #judgeError(classify: Classify | undefined, error: unknown, signal: AbortSignal | undefined): Verdict {
    if (signal?.aborted) {
      return { outcome: "cancelled" };
    }
    if (error instanceof CallTimeoutError) {
      return { outcome: "timeout", errorClass: "call_timeout" };
    }
    // Nothing can be thrown, too: a classifier is told of it as an error all the same.
    const thrown = error ?? new Error(`${error} was thrown`);
    const name = (thrown as Partial<Error>).name ?? "Error";
    const byName: Verdict = { outcome: name === "TimeoutError" ? "timeout" : "failure", errorClass: name };
    return (classify && this.#classified(classify, thrown, undefined)) ?? byName;
  }

  /** What a classifier says. One that fails itself, or says nothing, does not take the permit with it. */
  #classified(classify: Classify, error: unknown, result: unknown): Verdict | undefined {
    try {
      const said = classify(error, result);
      const verdict = typeof said === "string" ? { outcome: said } : said;
      if (verdict?.outcome in OUTCOMES) {
        return verdict;
      }
      this.client.warn(`the classifier of ${this.key} said no outcome`, said);
    } catch (thrown) {
      this.client.warn(`the classifier of ${this.key} has thrown`, thrown);
    }
    return undefined;
  }
}

/** The call's result, unless its time is up or its user ends it before. */
async function limited<T>(
  call: (context: CallContext) => T | PromiseLike<T>,
  timeoutMs: number | undefined,
  signal: AbortSignal | undefined,
): Promise<Awaited<T>> {
  const controller = new AbortController();
  let abort = () => {};
  let timer: NodeJS.Timeout | undefined;
  const ended = new Promise<never>((_, reject) => {
    const end = (reason: unknown) => {
      reject(reason);
      controller.abort(reason);
    };
    abort = () => end(signal?.reason);
    if (timeoutMs !== undefined) {
      timer = setTimeout(() => end(new CallTimeoutError(timeoutMs)), timeoutMs);
    }
    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted) {
      abort();
    }
  });
  try {
    // What a call that was given up comes to yet is nobody's.
    return (await Promise.race([ended, (async () => call({ signal: controller.signal }))()])) as Awaited<T>;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}
