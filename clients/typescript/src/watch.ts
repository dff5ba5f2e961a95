/** The watch: what a client hears of its breakers, over reconnects. */
import type { ClientReadableStream } from "@grpc/grpc-js";
import { type BreakerEvent, resync } from "./events.js";
import {
  type Resync,
  ResyncReason,
  type Snapshot,
  WatchEventsRequest,
  type WatchEventsResponse,
} from "./gen/fuseboard/v1/breaker_service.js";
import { type Event, EventKind } from "./gen/fuseboard/v1/event.js";
import type { Guard, LinkState } from "./guard.js";
import type { Settings } from "./options.js";
import { Timer } from "./timer.js";
import { durationOf, millis, ofStatus, permits } from "./view.js";
import { told } from "./wire.js";

/** How long more keys are waited for before a watch is opened that names them. */
const GATHER_MS = 10;
const FIRST_DELAY_MAX_MS = 1_000;
const BACKOFF_MIN_MS = 200;
const BACKOFF_MAX_MS = 5_000;

const OWN_SCOPE = new Set([
  EventKind.EVENT_KIND_CALLER_ISOLATED,
  EventKind.EVENT_KIND_CALLER_HALF_OPENED,
  EventKind.EVENT_KIND_CALLER_RESTORED,
]);

/** How long to wait before a stream is opened again: drawn, so that a fleet does not come back at once. */
export const delayOf = (failures: number): number =>
  Math.random() * (failures === 0 ? FIRST_DELAY_MAX_MS : Math.min(BACKOFF_MIN_MS * 2 ** failures, BACKOFF_MAX_MS));

/** What a watch needs of its client. */
export interface WatchHome {
  settings: Settings;
  link: LinkState;
  guards: Map<string, Guard>;
  clock: () => number;
  open(request: WatchEventsRequest): ClientReadableStream<WatchEventsResponse>;
  onEvent(event: BreakerEvent): void;
  onPolicy(guard: Guard, version: number): void;
  /** The connection swallows what it is given. */
  onSilence(silentMs: number): void;
  /** Something has changed that others may wait for. */
  onChange(): void;
}

/** One stream, and the breakers that it names. */
interface Stream {
  call: ClientReadableStream<WatchEventsResponse>;
  keys: string[];
  named: Set<string>;
  /** A snapshot is complete, or none is due. */
  isWhole: boolean;
  /** It began with a token, not with a snapshot. */
  goesOn: boolean;
  hasSpoken: boolean;
  silence: Timer;
}

/** Follows the events of all breakers of a client. */
export class Watch {
  reconnects = 0;
  resyncs = 0;
  /** Where to go on. Empty until a snapshot is complete. */
  #token = "";
  #failures = 0;
  /** The stream that has spoken, and the one that is to follow it. */
  #current: Stream | undefined;
  #next: Stream | undefined;
  /** Opens a stream later. */
  #later = new Timer();
  #comeBackMs: number | undefined;
  #isClosed = false;

  constructor(private readonly home: WatchHome) {}

  /** There are more breakers than the open watch names. */
  addKeys(): void {
    if (!this.#later.isSet && !this.#isClosed) {
      this.#later.set(GATHER_MS, () => this.#open());
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#later.clear();
    this.#end(this.#current);
    this.#end(this.#next);
  }

  #open(): void {
    const { home } = this;
    this.#end(this.#next);
    const keys = [...home.guards.keys()];
    const request = WatchEventsRequest.fromPartial({
      filter: { breakers: keys },
      resumeToken: this.#token,
      caller: home.settings.caller,
      progressInterval: durationOf(home.settings.progressIntervalMs),
    });
    const call = home.open(request);
    const stream: Stream = {
      call,
      keys,
      named: new Set(),
      isWhole: this.#token !== "",
      goesOn: this.#token !== "",
      hasSpoken: false,
      silence: new Timer(),
    };
    this.#next = stream;
    this.#listenFor(stream);
    call.on("data", (message: WatchEventsResponse) => this.#hear(stream, message));
    call.on("error", () => this.#isOver(stream));
    call.on("end", () => this.#isOver(stream));
  }

  #listenFor(stream: Stream): void {
    const { settings } = this.home;
    // However short a word is believed: the server need not speak more often than it was asked to.
    const silentMs = Math.max(settings.maxStalenessMs, 2 * settings.progressIntervalMs);
    stream.silence.set(silentMs, () => {
      this.#isOver(stream);
      this.home.onSilence(silentMs);
    });
  }

  /** Ends a stream that is of no use any more. */
  #end(stream: Stream | undefined): void {
    if (stream) {
      stream.silence.clear();
      // What comes of it yet is nobody's.
      stream.call.removeAllListeners("data");
      stream.call.cancel();
      if (this.#current === stream) {
        this.#current = undefined;
      }
      if (this.#next === stream) {
        this.#next = undefined;
      }
    }
  }

  /** A stream has ended by itself. */
  #isOver(stream: Stream): void {
    const wasOurs = stream === this.#current || stream === this.#next;
    this.#end(stream);
    if (!wasOurs || this.#isClosed) {
      return;
    }
    if (stream.hasSpoken) {
      this.reconnects += 1;
    } else {
      this.#failures += 1;
    }
    const delay = this.#comeBackMs ?? delayOf(this.#failures);
    this.#comeBackMs = undefined;
    this.#later.set(delay, () => this.#open());
  }

  #hear(stream: Stream, { message, resumeToken }: WatchEventsResponse): void {
    if (message?.$case === "resync") {
      stream.isWhole = false;
      stream.goesOn = false;
      stream.named.clear();
      this.#resync(message.resync);
    } else if (message?.$case === "snapshot") {
      this.#snapshot(message.snapshot, stream);
    } else if (message?.$case === "event") {
      this.#event(message.event);
    } else if (message?.$case === "goodbye") {
      this.#comeBackMs = millis(message.goodbye.retryAfter);
    }
    this.#listenFor(stream);
    this.home.link.heardAt = this.home.clock();
    if (stream.isWhole) {
      this.#token = resumeToken;
      if (!stream.hasSpoken) {
        this.#takesOver(stream);
      }
    }
  }

  /** A stream has spoken: what it names is covered, and the one before it is of no use any more. */
  #takesOver(stream: Stream): void {
    stream.hasSpoken = true;
    this.#failures = 0;
    for (const key of stream.keys) {
      const guard = this.home.guards.get(key)!;
      // What an answer has told of it may have changed before the place that this watch goes on from.
      if (stream.goesOn && !guard.covered && guard.view && permits(guard.view)) {
        guard.forget();
      }
      guard.covered = true;
    }
    const before = this.#current;
    this.#current = stream;
    this.#next = undefined;
    this.#end(before);
    this.#current = stream;
    if (stream.keys.length < this.home.guards.size) {
      this.addKeys();
    }
    this.home.onChange();
  }

  #snapshot(snapshot: Snapshot, stream: Stream): void {
    const now = this.home.clock();
    for (const status of snapshot.breakers) {
      const guard = this.home.guards.get(status.breaker);
      if (guard) {
        stream.named.add(status.breaker);
        guard.heard = Math.max(guard.heard, status.sequence);
        guard.learn(ofStatus(status, guard.view, now, { scope: true }));
        this.home.onPolicy(guard, status.policyVersion);
      }
    }
    for (const key of snapshot.deleted) {
      this.home.guards.get(key)?.forget();
    }
    if (snapshot.complete && !stream.isWhole) {
      stream.isWhole = true;
      // What a whole snapshot does not name is no more; but it may just have been made, and then it is asked for.
      for (const key of stream.keys.filter((key) => !stream.named.has(key))) {
        this.home.guards.get(key)!.forget();
      }
    }
  }

  #event(event: Event): void {
    const guard = this.home.guards.get(event.breaker);
    if (!guard || event.sequence <= guard.heard) {
      return;
    }
    guard.heard = event.sequence;
    if (event.kind === EventKind.EVENT_KIND_DELETED) {
      guard.forget();
    } else if (event.status) {
      const scope = OWN_SCOPE.has(event.kind) && event.status.caller?.caller === this.home.settings.caller;
      const toldAt = event.eventTime;
      guard.learn(ofStatus(event.status, guard.view, this.home.clock(), { toldAt, scope }));
      this.home.onPolicy(guard, event.policyVersion);
    }
    this.home.onEvent(told(event));
  }

  #resync({ reason, lostEvents }: Resync): void {
    this.resyncs += 1;
    this.#token = "";
    for (const guard of this.home.guards.values()) {
      guard.forget();
      guard.heard = 0;
    }
    const why = (ResyncReason[reason] ?? "unknown").replace("RESYNC_REASON_", "").toLowerCase();
    this.home.onEvent(resync(why, lostEvents));
  }
}
