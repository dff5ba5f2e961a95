/** The client: breakers by their key, and what they share. */
import { EventEmitter } from "node:events";
import { Breaker } from "./breaker.js";
import { type BreakerEvent, type EventKind, resync } from "./events.js";
import { Guard, type LinkState } from "./guard.js";
import { Connection } from "./link.js";
import {
  BREAKERS_MAX,
  type BreakerOptions,
  between,
  type ClientOptions,
  checkKey,
  type Settings,
  type Source,
  settingsOf,
} from "./options.js";
import { Budget } from "./tally.js";
import { hasWindowRule, localRule, policyOf } from "./wire.js";

/** Events that wait for an iterator; beyond, the newest are dropped and a resync says how many. */
const EVENTS_MAX = 1_000;

/** A client's own numbers, since it was made. */
export interface Stats {
  /** Calls permitted, by who decided. */
  permits: Record<Source, number>;
  /** Calls rejected, the same. */
  rejections: Record<Source, number>;
  /** Outcomes that the server has acknowledged. */
  reported: number;
  /** Outcomes that were lost. */
  droppedReports: number;
  /** Rejections of this process that the server was not told of. */
  droppedRejections: number;
  /** Outcomes of calls that the server did not know of, and was not told of. */
  unreported: number;
  /** Outcomes that the server found to be of an older generation. */
  staleReports: number;
  /** Times the session or the watch had to be opened again. */
  reconnects: number;
  /** Times that events were lost. */
  resyncs: number;
  /** Since the watch said something. Infinity: never. */
  stalenessMs: number;
  /** The session answers in time. */
  usable: boolean;
}

/** The events of the emitter. `open`, `halfOpen`, `closed` and `reset` are the moves; `event` is every event. */
export interface ClientEvents {
  open: [BreakerEvent];
  halfOpen: [BreakerEvent];
  closed: [BreakerEvent];
  reset: [BreakerEvent];
  event: [BreakerEvent];
}

const MOVES: Partial<Record<EventKind, keyof ClientEvents>> = {
  opened: "open",
  half_opened: "halfOpen",
  closed: "closed",
  reset: "reset",
};

/**
 * Protects calls by breakers that a Fuseboard server keeps for a whole fleet. It connects with its first breaker, in the
 * background, and keeps no process alive by itself.
 */
export class Client extends EventEmitter<ClientEvents> {
  /** The options, with what the environment said. */
  readonly settings: Settings;
  /** @internal */
  readonly clock: () => number;
  /** @internal */
  readonly link: LinkState = { heardAt: Number.NEGATIVE_INFINITY, usable: false, closed: false, budget: new Budget() };
  /** @internal */
  readonly guards = new Map<string, Guard>();
  /** @internal */
  readonly observer: NonNullable<ClientOptions["observer"]>;
  readonly #breakers = new Map<string, Breaker>();
  #connection: Connection | undefined;
  /** Who waits for the end. */
  readonly #atEnd = new Set<() => void>();
  #closing: Promise<void> | undefined;
  #unreported = 0;
  #lostAtEnd = 0;

  /** Throws a `RangeError` that names the option that is wrong. */
  constructor(options: ClientOptions = {}) {
    super();
    this.settings = settingsOf(options);
    this.clock = options.clock ?? (() => performance.now());
    this.observer = options.observer ?? { warn: (message) => process.emitWarning(message, "FuseboardWarning") };
  }

  /**
   * The breaker with this key. Asked for again it is the same one, and its options are those of the first time. Throws a
   * `RangeError` for a bad key or option, and for more than 1,000 breakers.
   */
  breaker(key: string, options: BreakerOptions = {}): Breaker {
    const known = this.#breakers.get(key);
    if (known) {
      return known;
    }
    if (this.#breakers.size >= BREAKERS_MAX) {
      throw new RangeError(`a client has at most ${BREAKERS_MAX} breakers: is there an id in the key ${key}?`);
    }
    if (options.timeoutMs !== undefined) {
      between("timeoutMs", options.timeoutMs, 1, 86_400_000);
    }
    const guard = this.newGuard(checkKey(key), options);
    this.guards.set(key, guard);
    const breaker = new Breaker(this, guard, options);
    this.#breakers.set(key, breaker);
    if (!this.link.closed) {
      this.#connection?.add(guard);
      this.connect();
    }
    return breaker;
  }

  /** @internal */
  protected newGuard(key: string, options: BreakerOptions): Guard {
    const { mode, whenUnavailable, maxStalenessMs, reportIntervalMs } = this.settings;
    const guard = new Guard(
      key,
      this.link,
      options.mode ?? mode,
      options.whenUnavailable ?? whenUnavailable,
      maxStalenessMs,
      reportIntervalMs,
    );
    guard.note = () => this.connection?.session.note(guard);
    if (options.policy) {
      const policy = policyOf(options.policy);
      guard.declared = { breaker: key, policy, revision: options.revision ?? 0 };
      guard.rule = localRule(policy);
      guard.suspects = hasWindowRule(policy);
    }
    return guard;
  }

  /** @internal The connection, while there is one. */
  get connection(): Connection | undefined {
    return this.link.closed ? undefined : this.#connection;
  }

  /** @internal */
  protected connect(): void {
    this.#connection ??= new Connection({
      settings: this.settings,
      link: this.link,
      guards: this.guards,
      clock: this.clock,
      onEvent: (event) => this.hear(event),
      warn: (message, error) => this.warn(message, error),
    });
  }

  /** Waits until breakers are decided from memory. False where that takes longer. */
  async ready(timeoutMs = 5_000): Promise<boolean> {
    return (await this.connection?.ready(timeoutMs)) ?? false;
  }

  /** The events of this client's breakers from now on, until it is closed or the loop is left. */
  async *events(): AsyncGenerator<BreakerEvent, void, void> {
    const waiting: BreakerEvent[] = [];
    let lost = 0;
    let wake = () => {};
    const listen = (event: BreakerEvent) => {
      if (waiting.length >= EVENTS_MAX) {
        lost += 1;
      } else {
        if (lost) {
          waiting.push(resync("slow_listener", lost));
          lost = 0;
        }
        waiting.push(event);
      }
      wake();
    };
    const end = () => wake();
    // Who waits for events keeps the process alive.
    const waits = setInterval(() => {}, 2 ** 30);
    this.on("event", listen);
    this.#atEnd.add(end);
    try {
      while (true) {
        for (let event = waiting.shift(); event; event = waiting.shift()) {
          yield event;
        }
        if (this.link.closed) {
          return;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      clearInterval(waits);
      this.off("event", listen);
      this.#atEnd.delete(end);
    }
  }
  stats(): Stats {
    const now = this.clock();
    const permits = { cached: 0, server: 0, local: 0, unavailable: 0 };
    const rejections = { ...permits };
    let droppedReports = this.#lostAtEnd;
    let droppedRejections = 0;
    for (const guard of this.guards.values()) {
      guard.expire(now);
      for (const source of Object.keys(permits) as Source[]) {
        permits[source] += guard.permits[source];
        rejections[source] += guard.rejections[source];
      }
      droppedReports += guard.dropped;
      droppedRejections += guard.droppedRejections;
    }
    const { session, watch } = this.#connection ?? {};
    return {
      permits,
      rejections,
      reported: session?.reported ?? 0,
      droppedReports: droppedReports + (session?.dropped ?? 0),
      droppedRejections: droppedRejections + (session?.droppedRejections ?? 0),
      unreported: this.#unreported,
      staleReports: session?.stale ?? 0,
      reconnects: (session?.reconnects ?? 0) + (watch?.reconnects ?? 0),
      resyncs: watch?.resyncs ?? 0,
      stalenessMs: now - this.link.heardAt,
      usable: this.link.usable,
    };
  }

  /** Sends what waits, within `closeTimeoutMs`, and ends the connection. Calls after it are decided without a server. */
  async close(): Promise<void> {
    if (this.#closing === undefined) {
      this.#closing = this.#connection?.close() ?? Promise.resolve();
      await this.#closing;
      this.link.usable = false;
      this.link.closed = true;
      for (const ended of this.#atEnd) {
        ended();
      }
    }
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal */
  hear(event: BreakerEvent): void {
    const name = MOVES[event.kind];
    this.#safely(() => this.emit("event", event));
    if (name) {
      this.#safely(() => this.emit(name, event));
    }
    this.#safely(() => this.#breakers.get(event.breaker)?.hear(event));
  }

  #safely(call: () => unknown): void {
    try {
      call();
    } catch (error) {
      this.warn("a listener has thrown", error);
    }
  }

  /** @internal Tells the observer. What it throws harms nobody. */
  observe(tell: (observer: NonNullable<ClientOptions["observer"]>) => void): void {
    try {
      tell(this.observer);
    } catch (error) {
      this.warn("the observer has thrown", error);
    }
  }

  /** @internal */
  warn(message: string, error?: unknown): void {
    try {
      this.observer.warn?.(message, error);
    } catch {
      // An observer that throws has nobody else to be told.
    }
  }

  /** @internal */
  countUnreported(): void {
    this.#unreported += 1;
  }

  /** @internal */
  countLost(): void {
    this.#lostAtEnd += 1;
  }
}
