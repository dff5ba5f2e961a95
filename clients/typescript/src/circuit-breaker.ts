/** The interface that users of in-process breakers know, over a breaker that can be shared. */
import { EventEmitter } from "node:events";
import type { Breaker } from "./breaker.js";
import { Client } from "./client.js";
import { RejectedError } from "./errors.js";
import { type BreakerEvent, resync } from "./events.js";
import { instance, printableKey, type State, service } from "./options.js";

export interface CircuitBreakerOptions {
  /** Failures in a row that open it. Default: 5. */
  failureThreshold?: number;
  /** How long it stays open, in milliseconds. Default: 30,000. */
  resetTimeout?: number;
  /** Only failures in a row younger than this count, in milliseconds. Default: 0, no limit. */
  monitoringPeriod?: number;
  /** Key of the breaker; who uses the same one shares it. Default: one of its own. */
  name?: string;
  /** Default: one for the process, to the address that `FUSEBOARD_ADDRESS` says. */
  client?: Client;
}

/** The shortest open period that the server takes without a word about it. */
const OPEN_DURATION_MIN_MS = 100;

const NAMES: Record<State, "CLOSED" | "OPEN" | "HALF_OPEN"> = {
  closed: "CLOSED",
  open: "OPEN",
  half_open: "HALF_OPEN",
};

const MOVES = { closed: "closed", open: "open", half_open: "halfOpen" } as const;
const KINDS = { closed: "closed", open: "opened", halfOpen: "half_opened", reset: "reset" } as const;

let shared: Client | undefined;
let unnamed = 0;

/** Reads from memory; acts at once; and goes on without a server. */
export class CircuitBreaker extends EventEmitter<Record<"open" | "closed" | "halfOpen" | "reset", [BreakerEvent]>> {
  readonly #breaker: Breaker;
  /** The state that was told last. */
  #state: State = "closed";

  constructor({
    failureThreshold = 5,
    resetTimeout = 30_000,
    monitoringPeriod = 0,
    name,
    client,
  }: CircuitBreakerOptions = {}) {
    super();
    shared ??= client ? undefined : new Client();
    const home = client ?? shared!;
    unnamed += name ? 0 : 1;
    const key = name ?? printableKey(`unnamed/${service()}/${instance()}/${unnamed}`);
    // Who writes milliseconds means them: a short period needs no second word.
    const short = resetTimeout > 0 && resetTimeout < OPEN_DURATION_MIN_MS ? { openDurationMinMs: resetTimeout } : {};
    this.#breaker = home.breaker(key, {
      policy: { failureThreshold, openDurationMs: resetTimeout, monitoringPeriodMs: monitoringPeriod, ...short },
    });
    for (const move of ["open", "closed", "halfOpen", "reset"] as const) {
      this.#breaker.on(move, (event) => this.emit(move, event));
    }
  }

  /** Makes the call, or throws `Error('Circuit breaker is OPEN')`. The call's own error comes back untouched. */
  async execute<T>(call: () => T | PromiseLike<T>): Promise<T> {
    this.#tellOfMoves();
    try {
      return await this.#breaker.execute(call);
    } catch (error) {
      if (error instanceof RejectedError && error.breaker === this.#breaker.key) {
        throw new Error("Circuit breaker is OPEN", { cause: error });
      }
      throw error;
    } finally {
      this.#tellOfMoves();
    }
  }

  /** While there is no server, moves are of this process, and are told when a call has seen them. */
  #tellOfMoves(): void {
    const { state, isAway, failures } = this.#breaker.memory();
    if (isAway && state !== this.#state) {
      this.#emit(MOVES[state], state, failures);
    }
    this.#state = state;
  }

  #emit(move: "open" | "closed" | "halfOpen" | "reset", to: State, failures: number): void {
    const event = resync("no_server", 0);
    this.emit(move, { ...event, kind: KINDS[move], breaker: this.#breaker.key, from: this.#state, to, failures });
  }

  /** The state as memory has it. */
  getState(): "CLOSED" | "OPEN" | "HALF_OPEN" {
    return NAMES[this.#breaker.memory().state];
  }

  /** Calls are refused now. */
  isOpen(): boolean {
    return this.getState() === "OPEN";
  }

  /** Failures in a row. */
  getFailures(): number {
    return this.#breaker.memory().failures;
  }

  /** Closes it, here at once, and for all who share it as soon as the server has heard. */
  reset(): void {
    const { isAway } = this.#breaker.memory();
    this.#breaker.resetHere();
    if (isAway) {
      this.#emit("reset", "closed", 0);
    }
    this.#state = "closed";
  }
}
