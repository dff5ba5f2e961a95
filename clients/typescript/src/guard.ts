/**
 * One breaker as a client keeps it: the view, the tally, the local breaker, and how they decide. No I/O and no clock:
 * `now` is an argument.
 */
import type { Declaration } from "./gen/fuseboard/v1/breaker_service.js";
import { DEFAULT_RULE, LocalBreaker, type LocalRule, Run } from "./local.js";
import type { Mode, Outcome, RejectionReason, Source, State, WhenUnavailable } from "./options.js";
import { type Budget, TALLY_BYTES, Tally } from "./tally.js";
import { closed, keepScope, permits, rejects, type View } from "./view.js";

/** A tally that could not be sent for so long, once it was due, is dropped. */
const TALLY_AGE_MAX_MS = 10_000;

/** What the decisions have to know of the connection, which keeps it true. */
export interface LinkState {
  /** When a watch last said something. */
  heardAt: number;
  /** The session answers in time. */
  usable: boolean;
  /** The client was closed: nothing is believed and nothing told any more. */
  closed: boolean;
  /** The room for tallies that wait to be sent. */
  readonly budget: Budget;
}

/** How an outcome is told: by a report of its own or not at all, with the next batch, or at once. */
export type Telling = "apart" | "later" | "at_once" | "decisive";

/** The breaker's generation and the caller's. */
export interface Generations {
  generation: number;
  callerGeneration: number;
}

const NONE: Generations = { generation: 0, callerGeneration: 0 };
const pairOf = ({ generation, callerGeneration }: Generations): string => `${generation}/${callerGeneration}`;

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
    /** Where there is no view. */
    readonly generations: Generations = NONE,
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
  droppedRejections = 0;
  /** Any failure may trip it, as far as is known here. */
  suspects = true;
  /** The answer to the last decisive outcome, which the next acquire waits for. */
  awaited: Promise<void> | undefined;
  readonly permits = noCounts();
  readonly rejections = noCounts();
  #local: LocalBreaker | undefined;
  /** When the last failures in a row happened, under these generations. */
  readonly #run = new Run();
  #runGenerations = NONE;
  /** What waits to be sent: a tally for each pair of generations, and full ones; and the one counted in last. */
  #pending = new Map<string, Tally>();
  #full: Tally[] = [];
  #tally: Tally | undefined;
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
      return new Yes("unavailable", undefined, undefined, 0, undefined, 0, false, this.#generations());
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
    return new Yes(source, view, local, answer, undefined, 0, false, this.#generations());
  }

  #standInOf(now: number): LocalBreaker {
    const view = this.view;
    const state = view?.state ?? "closed";
    this.#local ??= LocalBreaker.standing(this.rule, state, view?.openUntil ?? 0, now, this.#ownRun());
    return this.#local;
  }

  #generations(): Generations {
    return this.view ?? this.#runGenerations;
  }

  /** The run, emptied where the breaker or the caller has moved. */
  #ownRun(): Run {
    const { generation, callerGeneration } = this.#generations();
    const counted = this.#runGenerations;
    if (counted.generation !== generation || counted.callerGeneration !== callerGeneration) {
      this.#run.clear();
      this.#runGenerations = { generation, callerGeneration };
    }
    return this.#run;
  }

  #isOld(yes: Yes): boolean {
    const given = yes.view ?? yes.generations;
    const known = this.#generations();
    return given.generation < known.generation || given.callerGeneration < known.callerGeneration;
  }

  /** Takes an outcome into the run; `ignored` also for a failure of the caller's own making. True: it is decisive. */
  record(yes: Yes, outcome: Outcome, now: number): boolean {
    if (this.#isOld(yes)) {
      return false;
    }
    const run = this.#ownRun();
    let isDecisive = false;
    if (outcome === "success") {
      run.clear();
    } else if (outcome === "failure" || outcome === "timeout") {
      run.add(now, this.rule);
      isDecisive = this.suspects || run.reaches(this.rule);
    }
    if (this.#local && !this.#local.isClosed) {
      run.clear();
    }
    return isDecisive;
  }

  /** The next acquire waits for the failures that wait to be told, where there are any. */
  awaitPending(told: Promise<void>): boolean {
    const waits = [...this.#full, ...this.#pending.values()].some((tally) => tally.longestRun > 0);
    if (waits) {
      this.awaited = told;
    }
    return waits;
  }

  /** The state as this process sees it: the local breaker's while that stands in. */
  stateAt(now: number): State {
    const local = this.link.usable ? undefined : this.#local;
    return local ? local.stateAt(now) : (this.view?.state ?? "closed");
  }

  /** Closed from now on, until the server says otherwise: its answer to the reset has a higher generation. */
  closeHere(): void {
    this.forgetRun();
    if (this.view) {
      this.view = { ...closed(this.view.generation), policyVersion: this.view.policyVersion };
    }
  }

  /** The server decides again. */
  forgetLocal(): void {
    this.#local = undefined;
  }

  /** The server was told to reset. */
  forgetRun(): void {
    this.#local = undefined;
    this.failuresInARow = 0;
    this.#run.clear();
  }

  // Outcomes.

  /** Takes the outcome of a call that was decided here. */
  settle(yes: Yes, outcome: Outcome, now: number, durationMs = 0, local = false, retryAfterMs = 0): Telling {
    const { view, link } = { view: yes.view, link: this.link };
    const failed = outcome === "failure" || outcome === "timeout";
    const seen = local ? "ignored" : outcome;
    if (yes.local) {
      yes.local.report(yes.localPermit, seen, now);
    } else if (view && !link.usable && this.whenUnavailable === "local") {
      const standIn = this.#standInOf(now);
      if (!this.#isOld(yes)) {
        standIn.observe(seen, now);
      }
    }
    const isDecisive = this.record(yes, seen, now);
    if (!view) {
      return "apart";
    }
    if (link.closed) {
      this.dropped += 1;
      return "apart";
    }
    const slow = this.slowAfterMs > 0 && durationMs >= this.slowAfterMs;
    this.#current(view, now).add(outcome, slow, local, retryAfterMs);
    this.#note();
    return isDecisive ? "decisive" : failed ? "at_once" : "later";
  }

  /** The tally of a view's generations. Where there is no room for another, the oldest is dropped. */
  #current(view: View, now: number): Tally {
    const last = this.#tally;
    const isSame = last?.generation === view.generation && last.callerGeneration === view.callerGeneration;
    if (isSame && !last.isFull) {
      return last;
    }
    const pair = pairOf(view);
    let tally = this.#pending.get(pair);
    if (tally?.isFull) {
      this.#full.push(tally);
      this.#pending.delete(pair);
      tally = undefined;
    }
    if (!tally) {
      if (this.hasPending && !this.link.budget.take(this.#tallyBytes)) {
        this.#dropOldest();
      }
      tally = new Tally(view.generation, view.callerGeneration, now);
      this.#pending.set(pair, tally);
    }
    this.#tally = tally;
    return tally;
  }

  get #tallyBytes(): number {
    return TALLY_BYTES + this.key.length;
  }

  #dropOldest(): void {
    const full = this.#full.shift();
    if (full) {
      this.#drop(full);
      return;
    }
    for (const [pair, tally] of this.#pending) {
      this.#pending.delete(pair);
      this.#drop(tally);
      return;
    }
  }

  #drop(tally: Tally): void {
    this.dropped += tally.calls;
    this.droppedRejections += tally.rejections;
  }

  #note(): void {
    if (!this.noted) {
      this.noted = true;
      this.note(this);
    }
  }

  /** Something waits to be told. */
  get hasPending(): boolean {
    return this.#full.length > 0 || this.#pending.size > 0;
  }

  /** What waits to be told, oldest first, at most so many; too old ones are dropped and counted. */
  take(now: number, most: number): Tally[] {
    this.expire(now);
    const tallies = [...this.#full, ...this.#pending.values()];
    this.#keep(tallies.slice(most), tallies.length);
    this.noted = this.hasPending;
    return tallies.slice(0, most);
  }

  /** Drops tallies that have got too old, and counts them. */
  expire(now: number): void {
    const ageMax = this.reportIntervalMs + TALLY_AGE_MAX_MS;
    const tallies = [...this.#full, ...this.#pending.values()];
    const old = tallies.filter((tally) => now - tally.since > ageMax);
    if (old.length > 0) {
      for (const tally of old) {
        this.#drop(tally);
      }
      this.#keep(
        tallies.filter((tally) => now - tally.since <= ageMax),
        tallies.length,
      );
    }
  }

  /** These wait on; the room of the others is free. */
  #keep(kept: Tally[], before: number): void {
    this.#full = kept.filter((tally) => tally.isFull);
    this.#pending = new Map(kept.filter((tally) => !tally.isFull).map((tally) => [pairOf(tally), tally]));
    this.#tally = undefined;
    this.link.budget.giveBack((Math.max(before - 1, 0) - Math.max(kept.length - 1, 0)) * this.#tallyBytes);
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
