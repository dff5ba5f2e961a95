/** The session: acquires, reports and batches on one stream, over reconnects. */
import { randomBytes } from "node:crypto";
import { type ClientDuplexStream, status as Code } from "@grpc/grpc-js";
import { Decision, Origin, State as PbState } from "./gen/fuseboard/v1/breaker.js";
import {
  ReportResult,
  type SessionAcquired,
  type SessionBatchReported,
  type SessionError,
  type SessionReported,
  SessionRequest,
  type SessionResponse,
} from "./gen/fuseboard/v1/breaker_service.js";
import { type Guard, type LinkState, No, Yes } from "./guard.js";
import type { Settings, Verdict } from "./options.js";
import type { Tally } from "./tally.js";
import { Timer } from "./timer.js";
import { durationOf, millis, ofAcquired, ofReported, ofStatus, REASONS, STATES } from "./view.js";
import { delayOf } from "./watch.js";
import { OUTCOMES } from "./wire.js";

/** Between two attempts to find out whether a session that stands answers in time. */
const HELLO_MIN_MS = 100;
const HELLO_MAX_MS = 1_000;
/** Acquires and reports that wait for an answer, those given up included. */
const ASKS_MAX = 10_000;
const REPORTS_MAX = 10_000;
/** An acquire whose answer was lost is asked about again for so long, to give its permit back. */
const ASK_AGE_MAX_MS = 10_000;
/** A batch whose answer was lost is sent again for so long: the server remembers its number no longer than ten minutes. */
const BATCH_AGE_MAX_MS = 300_000;
/** Tallies in a batch, well below the server's bound and a frame's. */
const TALLIES_MAX = 1_000;
const DURATION_MAX_MS = 86_400_000;
const ERROR_CLASS_MAX = 64;

export type Answer = Yes | No | undefined;

interface Ask {
  guard: Guard;
  requestId: string;
  since: number;
  /** Gives the answer to who waits for it. False where nobody does any more. */
  offer: (answer: Answer) => boolean;
}

interface Report {
  guard: Guard;
  permit: Uint8Array;
  verdict: Verdict;
  durationMs: number;
  expires: number;
  done: () => void;
}

interface Batch {
  sequence: number;
  since: number;
  tallies: [Guard, Tally][];
  waiting: (() => void)[];
}

/** What a session needs of its client. */
export interface SessionHome {
  settings: Settings;
  link: LinkState;
  guards: Map<string, Guard>;
  clock: () => number;
  open(): ClientDuplexStream<SessionRequest, SessionResponse>;
  /** Declares what there is to declare, before a session's hello. */
  declare(): Promise<void>;
  onFirstAnswer(guard: Guard): void;
  onChange(): void;
  warn(message: string): void;
}

const calls = (batch: Batch): number => batch.tallies.reduce((sum, [, tally]) => sum + tally.calls, 0);

const rejections = (batch: Batch): number => batch.tallies.reduce((sum, [, tally]) => sum + tally.rejections, 0);

/** All that is asked and told. */
export class Session {
  reconnects = 0;
  reported = 0;
  dropped = 0;
  droppedRejections = 0;
  stale = 0;
  /** Breakers whose declaration is under way: asking about them waits for it. */
  readonly undeclared = new Set<string>();
  #numbers = 1;
  #sequences = 1;
  #asks = new Map<number, Ask>();
  #reports = new Map<number, Report>();
  #batch: Batch | undefined;
  /** When each batch in flight was sent, hellos included, and its sequence. */
  #sent = new Map<number, { at: number; sequence: number }>();
  #noted = new Map<string, Guard>();
  #waiting: (() => void)[] = [];
  /** Acquires from before the first session was usable, and of breakers whose declaration is under way. */
  #early: Ask[] = [];
  #isStarting = true;
  #isClosed = false;
  #call: ClientDuplexStream<SessionRequest, SessionResponse> | undefined;
  #frame: SessionRequest | undefined;
  #failures = 0;
  #comeBackMs: number | undefined;
  #helloDelayMs = 0;
  readonly #hello = new Timer();
  readonly #due = new Timer();
  readonly #retry = new Timer();
  readonly #again = new Timer();

  constructor(private readonly home: SessionHome) {}

  // What callers want.

  /** Asks the server; the answer is nothing where it cannot be asked, or not within `acquireTimeoutMs`. */
  ask(guard: Guard): Promise<Answer> {
    const { link, settings } = this.home;
    return new Promise((resolve) => {
      let isOpen = true;
      // An answer that has come while the event loop was held up is read before it is missed.
      const late = () => ask.offer(undefined) && this.missed();
      const timer = setTimeout(() => setImmediate(late), settings.acquireTimeoutMs);
      const ask: Ask = {
        guard,
        requestId: randomBytes(12).toString("hex"),
        since: performance.now(),
        offer: (answer) => {
          const wasOpen = isOpen;
          isOpen = false;
          clearTimeout(timer);
          resolve(answer);
          return wasOpen;
        },
      };
      const waits = link.usable ? this.undeclared.has(guard.key) : this.#isStarting;
      if (link.closed) {
        ask.offer(undefined);
      } else if (waits && this.#early.length < ASKS_MAX) {
        this.#early.push(ask);
      } else if (link.usable && this.#asks.size < ASKS_MAX) {
        this.#sendAsk(this.#numbers++, ask);
      } else {
        ask.offer(undefined);
      }
    });
  }

  /** Tells how a call went that the server permitted. */
  report(guard: Guard, yes: Yes, verdict: Verdict, durationMs: number): Promise<void> {
    if (this.#isClosed) {
      this.dropped += 1;
      return Promise.resolve();
    }
    const oldest = this.#reports.keys().next();
    if (this.#reports.size >= REPORTS_MAX && !oldest.done) {
      this.#drop(oldest.value);
    }
    return new Promise((done) => {
      const number = this.#numbers++;
      const expires = performance.now() + yes.leaseMs;
      this.#reports.set(number, { guard, permit: yes.permit!, verdict, durationMs, expires, done });
      this.#sendReport(number);
    });
  }

  /** The breaker has something to tell, with the next batch. */
  note(guard: Guard): void {
    this.#noted.set(guard.key, guard);
    if (!this.#due.isSet) {
      this.#due.set(this.home.settings.reportIntervalMs, () => this.#sendBatch());
    }
  }

  /** Tells what waits at once; done when it was answered. */
  tell(): Promise<void> {
    return new Promise((done) => {
      this.#waiting.push(done);
      this.#sendBatch();
    });
  }

  /** The declarations of these breakers were answered, or given up. */
  declared(keys: Iterable<string>): void {
    for (const key of keys) {
      this.undeclared.delete(key);
    }
    if (this.home.link.usable) {
      this.#sendEarly();
    }
    this.home.onChange();
  }

  /** An answer did not come in time: nobody waits for the next until the session is known to answer. */
  missed(): void {
    const wasUsable = this.home.link.usable;
    this.home.link.usable = false;
    this.#giveUpEarly();
    if (wasUsable && this.#call) {
      this.#helloDelayMs = HELLO_MIN_MS;
      this.#helloLater();
    }
  }

  // Over reconnects.

  /** Opens a session, and others after it. */
  async open(): Promise<void> {
    await this.home.declare();
    if (this.#isClosed) {
      return;
    }
    const call = this.home.open();
    this.#call = call;
    this.#sent.clear();
    this.#frame = undefined;
    this.#fill().caller = this.home.settings.caller;
    this.#sendAgain();
    this.#sendHello();
    call.on("data", (frame: SessionResponse) => call === this.#call && this.#hear(frame));
    call.on("error", () => this.#isOver(call));
    call.on("end", () => {
      call.end();
      this.#isOver(call);
    });
  }

  /** The connection is given up. */
  renew(): void {
    const call = this.#call;
    call?.cancel();
    this.#isOver(call);
  }

  #isOver(call: ClientDuplexStream<SessionRequest, SessionResponse> | undefined): void {
    if (call !== this.#call || call === undefined) {
      return;
    }
    this.#failures = this.home.link.usable ? 0 : this.#failures + 1;
    this.#call = undefined;
    this.home.link.usable = false;
    this.#hello.clear();
    this.#retry.clear();
    this.#giveUpEarly();
    for (const ask of this.#asks.values()) {
      ask.offer(undefined);
    }
    if (!this.#isClosed) {
      this.reconnects += 1;
      const delay = this.#comeBackMs ?? delayOf(this.#failures);
      this.#comeBackMs = undefined;
      this.#again.set(delay, () => void this.open());
    }
  }

  /** Sends again what had no answer when the last session ended. */
  #sendAgain(): void {
    const now = performance.now();
    for (const [number, ask] of this.#asks) {
      if (now - ask.since > ASK_AGE_MAX_MS) {
        this.#asks.delete(number);
      } else {
        this.#sendAsk(number, ask);
      }
    }
    for (const [number, report] of this.#reports) {
      if (now > report.expires) {
        this.#drop(number);
      } else {
        this.#sendReport(number);
      }
    }
  }

  #sendEarly(): void {
    const early = this.#early;
    this.#early = [];
    for (const ask of early) {
      if (this.undeclared.has(ask.guard.key)) {
        this.#early.push(ask);
      } else {
        this.#sendAsk(this.#numbers++, ask);
      }
    }
  }

  #giveUpEarly(): void {
    this.#isStarting = false;
    const early = this.#early;
    this.#early = [];
    for (const ask of early) {
      ask.offer(undefined);
    }
  }

  // Hellos: whether the session answers in time.

  #helloLater(): void {
    const delay = this.#helloDelayMs * (0.5 + Math.random() / 2);
    this.#hello.set(delay, () => this.#sendHello());
  }

  #sendHello(): void {
    if (this.#batch && performance.now() - this.#batch.since > BATCH_AGE_MAX_MS) {
      this.#endBatch(true);
    }
    if (this.#batch) {
      this.#putBatch(this.#batch);
    } else {
      this.#put(this.#sequences++, []);
    }
    this.#hello.set(this.home.settings.acquireTimeoutMs, () => {
      this.#giveUpEarly();
      this.#helloDelayMs = Math.min(Math.max(2 * this.#helloDelayMs, HELLO_MIN_MS), HELLO_MAX_MS);
      this.#helloLater();
    });
  }

  #isUsable(): void {
    const { link, guards } = this.home;
    this.#hello.clear();
    if (link.usable || this.#isClosed) {
      return;
    }
    link.usable = true;
    this.#isStarting = false;
    this.#helloDelayMs = 0;
    for (const guard of guards.values()) {
      guard.forgetLocal();
    }
    this.#awaitPending();
    this.#sendEarly();
    this.#sendBatch();
    this.home.onChange();
  }

  /** Failures that were recorded while the server could not be asked are sent now, and waited for. */
  #awaitPending(): void {
    let done = () => {};
    const told = new Promise<void>((resolve) => {
      done = resolve;
    });
    const waiting = [...this.home.guards.values()].filter((guard) => guard.awaitPending(told));
    if (waiting.length > 0) {
      this.#waiting.push(() => {
        for (const guard of waiting) {
          guard.awaited = guard.awaited === told ? undefined : guard.awaited;
        }
        done();
      });
    }
  }

  // Frames. What is filled in one turn of the event loop goes in one.

  #fill(): SessionRequest {
    if (!this.#frame) {
      const frame = SessionRequest.fromPartial({});
      this.#frame = frame;
      queueMicrotask(() => {
        if (this.#frame === frame) {
          this.#frame = undefined;
          this.#call?.write(frame);
        }
      });
    }
    return this.#frame;
  }

  #sendAsk(number: number, ask: Ask): void {
    this.#asks.set(number, ask);
    if (this.#call) {
      this.#fill().acquires.push({
        number,
        handle: 0,
        breaker: ask.guard.key,
        caller: "",
        requestId: ask.requestId,
        lease: undefined,
      });
    }
  }

  #sendReport(number: number): void {
    const report = this.#reports.get(number);
    if (!report || !this.#call) {
      return;
    }
    const { verdict, durationMs } = report;
    this.#fill().reports.push({
      number,
      handle: 0,
      breaker: report.guard.key,
      permit: report.permit as Buffer,
      outcome: OUTCOMES[verdict.outcome],
      duration: durationMs ? durationOf(Math.min(durationMs, DURATION_MAX_MS)) : undefined,
      errorClass: (verdict.errorClass ?? "").replace(/[^ -~]/g, "?").slice(0, ERROR_CLASS_MAX),
      retryAfter: verdict.retryAfterMs ? durationOf(Math.min(verdict.retryAfterMs, DURATION_MAX_MS)) : undefined,
      origin: verdict.local ? Origin.ORIGIN_LOCAL : Origin.ORIGIN_UNSPECIFIED,
    });
  }

  /** Sends what waits, unless a batch is in flight; then it goes with the next. */
  #sendBatch(): void {
    if (this.#batch || !this.home.link.usable || !this.#call) {
      return;
    }
    const tallies: Batch["tallies"] = [];
    const now = this.home.clock();
    for (const [key, guard] of this.#noted) {
      if (tallies.length >= TALLIES_MAX) {
        break;
      }
      this.#noted.delete(key);
      const taken = guard.take(now, TALLIES_MAX - tallies.length);
      tallies.push(...taken.map((tally): [Guard, Tally] => [guard, tally]));
      if (guard.hasPending) {
        this.#noted.set(key, guard);
        break;
      }
    }
    const waiting = this.#waiting;
    this.#waiting = [];
    if (tallies.length === 0) {
      for (const done of waiting) {
        done();
      }
      return;
    }
    this.#batch = { sequence: this.#sequences++, since: performance.now(), tallies, waiting };
    this.#putBatch(this.#batch);
  }

  #putBatch(batch: Batch): void {
    this.#put(batch.sequence, batch.tallies);
  }

  #put(batchSequence: number, tallies: Batch["tallies"]): void {
    if (!this.#call) {
      return;
    }
    const number = this.#numbers++;
    const now = this.home.clock();
    this.#sent.set(number, { at: performance.now(), sequence: batchSequence });
    const { clientId, caller } = this.home.settings;
    const batch = {
      clientId,
      batchSequence,
      tallies: tallies.map(([guard, tally]) => tally.toPb(guard.key, caller, now)),
    };
    this.#fill().batches.push({ number, batch });
  }

  // Answers.

  #hear(frame: SessionResponse): void {
    for (const answer of frame.acquired) {
      this.#acquired(answer);
    }
    for (const answer of frame.reported) {
      this.#reportedOne(answer);
    }
    for (const answer of frame.batches) {
      this.#counted(answer);
    }
    for (const error of frame.errors) {
      this.#failed(error);
    }
    if (frame.goodbye) {
      this.#comeBackMs = millis(frame.goodbye.retryAfter);
    }
  }

  #acquired(answer: SessionAcquired): void {
    const ask = this.#asks.get(answer.number);
    if (!ask) {
      return;
    }
    this.#asks.delete(answer.number);
    const { guard } = ask;
    const isFirst = guard.view === undefined;
    if (!answer.provisional) {
      guard.learn(ofAcquired(answer, guard.view, this.home.clock()));
    }
    if (answer.decision === Decision.DECISION_PERMITTED) {
      const isProbe = answer.state === PbState.STATE_HALF_OPEN;
      const generations = (answer.provisional ? guard.view : undefined) ?? answer;
      const yes = new Yes("server", undefined, undefined, 0, answer.permit, millis(answer.lease), isProbe, {
        generation: generations.generation,
        callerGeneration: generations.callerGeneration,
      });
      if (ask.offer(yes)) {
        guard.permits.server += 1;
      } else {
        // Nobody has this permit: its place is free again.
        void this.report(guard, yes, { outcome: "cancelled" }, 0);
      }
    } else {
      const retryAfterMs = Math.max(millis(answer.retryAfter), 10);
      if (ask.offer(new No(REASONS[answer.reason] ?? "open", retryAfterMs, STATES[answer.state], "server"))) {
        guard.rejections.server += 1;
      }
    }
    if (isFirst) {
      this.home.onFirstAnswer(guard);
    }
  }

  #reportedOne(answer: SessionReported): void {
    const report = this.#reports.get(answer.number);
    if (!report) {
      return;
    }
    this.#reports.delete(answer.number);
    if (answer.state) {
      report.guard.learn(ofReported(answer, report.guard.view));
    }
    if (answer.result === ReportResult.REPORT_RESULT_STALE) {
      this.stale += 1;
    } else {
      this.reported += 1;
    }
    report.done();
  }

  #counted({ number, response }: SessionBatchReported): void {
    const sent = this.#sent.get(number);
    this.#sent.delete(number);
    const now = this.home.clock();
    for (const status of response?.changed ?? []) {
      const guard = this.home.guards.get(status.breaker);
      guard?.learn(ofStatus(status, guard.view, now, { scope: status.caller !== undefined }));
    }
    if (this.#batch && sent?.sequence === this.#batch.sequence) {
      const all = calls(this.#batch);
      const stale = staleCalls(this.#batch, response?.stale ?? 0);
      this.stale += stale;
      this.reported += all - stale;
      this.#endBatch(false);
    }
    if (sent && performance.now() - sent.at <= this.home.settings.acquireTimeoutMs) {
      this.#isUsable();
    }
    if (this.#waiting.length || (this.#noted.size && !this.#due.isSet)) {
      this.#sendBatch();
    }
    this.home.onChange();
  }

  #endBatch(isDropped: boolean): void {
    const waiting = this.#batch?.waiting ?? [];
    if (this.#batch && isDropped) {
      this.dropped += calls(this.#batch);
      this.droppedRejections += rejections(this.#batch);
    }
    this.#batch = undefined;
    for (const done of waiting) {
      done();
    }
  }

  /** An item that the server could not answer. */
  #failed(error: SessionError): void {
    const isTemporary = error.code === Code.UNAVAILABLE || error.code === Code.RESOURCE_EXHAUSTED;
    const wait = isTemporary && error.retryAfter ? millis(error.retryAfter) : undefined;
    const ask = this.#asks.get(error.number);
    const report = this.#reports.get(error.number);
    const sent = this.#sent.get(error.number);
    if (ask) {
      this.#asks.delete(error.number);
      this.home.warn(`breaker ${ask.guard.key}: ${error.message}`);
      ask.offer(undefined);
    } else if (report) {
      if (wait !== undefined && performance.now() + wait < report.expires) {
        setTimeout(() => this.#sendReport(error.number), wait).unref();
      } else {
        this.home.warn(`a report was refused: ${error.message}`);
        this.#drop(error.number);
      }
    } else if (sent) {
      this.#sent.delete(error.number);
      const batch = this.#batch;
      if (batch?.sequence !== sent.sequence) {
        return;
      }
      if (wait !== undefined) {
        this.#retry.set(wait, () => this.#batch === batch && this.#putBatch(batch));
      } else {
        this.home.warn(`a batch was refused: ${error.message}`);
        this.#endBatch(true);
      }
    } else {
      this.home.warn(`${error.field}: ${error.message}`);
    }
  }

  #drop(number: number): void {
    this.dropped += 1;
    this.#reports.get(number)?.done();
    this.#reports.delete(number);
  }

  // The end.

  /** Nothing waits to be told, or can be. */
  get isFlushed(): boolean {
    const waits = this.#batch || this.#noted.size || this.#reports.size;
    return !waits || !this.home.link.usable;
  }

  /** Sends what waits now. */
  flush(): void {
    this.#sendBatch();
  }

  /** Ends the session: what still waits is counted as dropped. */
  close(): void {
    this.#isClosed = true;
    for (const timer of [this.#hello, this.#due, this.#retry, this.#again]) {
      timer.clear();
    }
    this.#giveUpEarly();
    for (const ask of this.#asks.values()) {
      ask.offer(undefined);
    }
    if (this.#batch) {
      this.#endBatch(true);
    }
    for (const guard of this.#noted.values()) {
      for (const tally of guard.take(this.home.clock(), Number.POSITIVE_INFINITY)) {
        this.dropped += tally.calls;
        this.droppedRejections += tally.rejections;
      }
    }
    for (const number of [...this.#reports.keys()]) {
      this.#drop(number);
    }
    for (const done of this.#waiting) {
      done();
    }
    const call = this.#call;
    this.#call = undefined;
    call?.cancel();
  }
}

/**
 * Calls in the tallies that the server found stale, of which it tells only how many they were: first those of
 * generations that are known to be over.
 */
function staleCalls(batch: Batch, stale: number): number {
  const isOver = ([guard, tally]: [Guard, Tally]) => (guard.view?.generation ?? 0) > tally.generation;
  const byAge = [...batch.tallies].sort((a, b) => Number(isOver(b)) - Number(isOver(a)));
  return byAge.slice(0, stale).reduce((sum, [, tally]) => sum + tally.calls, 0);
}
