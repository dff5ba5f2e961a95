/** For tests of programs that use this package: breakers without a server, and a server whose time stands still. */
import { credentials } from "@grpc/grpc-js";
import { Client } from "./client.js";
import type { EventKind } from "./events.js";
import { ClockServiceClient } from "./gen/fuseboard/testing/v1/clock_service.js";
import { Guard, type No, type Telling, Yes } from "./guard.js";
import type { BreakerOptions, Outcome } from "./options.js";
import { closed, durationOf, type View } from "./view.js";

/** Outcomes that a breaker remembers. */
const OUTCOMES_MAX = 100_000;

/** A breaker that stands as it was set, and remembers outcomes. */
class FakeGuard extends Guard {
  readonly outcomes: Outcome[] = [];

  override decide(now: number): Yes | No {
    return super.decide(now) ?? new Yes("cached", this.view);
  }

  override settle(_yes: Yes, outcome: Outcome): Telling {
    if (this.outcomes.length < OUTCOMES_MAX) {
      this.outcomes.push(outcome);
    }
    return "apart";
  }
}

/**
 * In place of a `Client`: the real one without a connection, so that deciding, classifying, fallbacks and permits are
 * the real ones. Its breakers stand as the test has set them.
 */
export class FakeClient extends Client {
  constructor(options: { clock?: () => number } = {}) {
    super({ ...options, address: "fake:1", caller: "test/1" });
    this.link.usable = true;
    this.link.heardAt = Number.POSITIVE_INFINITY;
  }

  /** From now on calls are rejected, `open`, for so long. */
  setOpen(key: string, retryAfterMs = 30_000): void {
    this.#stand(key, "opened", { state: "open", openUntil: this.clock() + retryAfterMs });
  }

  /** From now on calls are rejected, `caller_isolated`, for so long. */
  setIsolated(key: string, retryAfterMs = 30_000): void {
    this.#stand(key, "caller_isolated", { callerState: "open", callerUntil: this.clock() + retryAfterMs });
  }

  /** From now on calls are rejected, `forced_open`. */
  setForcedOpen(key: string): void {
    this.#stand(key, "override_set", { override: "forced_open" });
  }

  /** From now on calls are permitted. */
  setClosed(key: string): void {
    this.#stand(key, "closed", {});
  }

  /** What was reported to the breaker, in order. */
  outcomes(key: string): Outcome[] {
    return [...this.#guard(key).outcomes];
  }

  protected override connect(): void {
    // There is nothing to connect to.
  }

  protected override newGuard(key: string, options: BreakerOptions): Guard {
    const guard = new FakeGuard(key, this.link, "cached", options.whenUnavailable ?? "local", Number.POSITIVE_INFINITY);
    guard.covered = true;
    guard.view = closed(1);
    return guard;
  }

  #guard(key: string): FakeGuard {
    this.breaker(key);
    return this.guards.get(key) as FakeGuard;
  }

  #stand(key: string, kind: EventKind, changes: Partial<View>): void {
    const guard = this.#guard(key);
    const before = guard.view!;
    guard.view = { ...closed(before.generation + 1), ...changes };
    this.hear({
      kind,
      breaker: key,
      sequence: 0,
      generation: guard.view.generation,
      from: before.state,
      to: guard.view.state,
      reason: "requested",
      failures: 0,
      caller: "",
      actor: "",
      comment: "",
      lost: 0,
    });
  }
}

/** Moves the time of a server that was started with `--manual-clock`. */
export class ManualClock {
  readonly #client: ClockServiceClient;

  constructor(address: string) {
    this.#client = new ClockServiceClient(address, credentials.createInsecure());
  }

  /** Moves it forward. Whatever falls due has happened when this is done. */
  advance(ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#client.advance({ duration: durationOf(ms) }, (error) => (error ? reject(error) : resolve()));
    });
  }

  close(): void {
    this.#client.close();
  }
}
