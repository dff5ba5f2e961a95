// The generated stubs under one roof, and the few steps that every story is told with.

import assert from "node:assert/strict";
import { type ClientDuplexStream, credentials } from "@grpc/grpc-js";
import { ClockServiceClient } from "../gen/fuseboard/testing/v1/clock_service.js";
import { AdminServiceClient } from "../gen/fuseboard/v1/admin_service.js";
import { type BreakerStatus, Decision, Outcome, State } from "../gen/fuseboard/v1/breaker.js";
import {
  AcquireRequest,
  type AcquireResponse,
  BreakerServiceClient,
  type DeepPartial,
  type GetStateResponse,
  ReportRequest,
  type ReportResponse,
  SessionRequest,
  type SessionResponse,
  WatchEventsRequest,
  type WatchEventsResponse,
} from "../gen/fuseboard/v1/breaker_service.js";
import type { Event } from "../gen/fuseboard/v1/event.js";
import type { Duration } from "../gen/google/protobuf/duration.js";
import { ask, Reader, streamOptions } from "./rpc.js";
import { Fuseboard } from "./server.js";

export function seconds(amount: number): Duration {
  const whole = Math.trunc(amount);
  return { seconds: BigInt(whole), nanos: Math.round((amount - whole) * 1e9) };
}

export function inSeconds(duration: Duration | undefined): number {
  assert(duration, "no duration");
  return Number(duration.seconds) + duration.nanos / 1e9;
}

/** A number that may be off by what a machine needs to answer. */
export function assertClose(actual: number, expected: number): void {
  assert(Math.abs(actual - expected) < 0.1, `${actual} is not about ${expected}`);
}

/** All services of one server, with short forms of what the tests do most. */
export class Api {
  readonly breakers: BreakerServiceClient;
  readonly operator: AdminServiceClient;
  readonly clock: ClockServiceClient;

  private constructor(readonly server: Fuseboard) {
    const insecure = credentials.createInsecure();
    this.breakers = new BreakerServiceClient(server.address, insecure);
    this.operator = new AdminServiceClient(server.address, insecure);
    this.clock = new ClockServiceClient(server.address, insecure);
  }

  /** Starts a server whose time stands still until it is advanced, unless `flags` say otherwise. */
  static async start(flags: string[] = ["--manual-clock"]): Promise<Api> {
    return new Api(await Fuseboard.start(...flags));
  }

  close(): void {
    for (const client of [this.breakers, this.operator, this.clock]) client.close();
  }

  async stop(): Promise<void> {
    this.close();
    await this.server.stop();
  }

  acquire(breaker: string, fields: Partial<AcquireRequest> = {}): Promise<AcquireResponse> {
    return ask(this.breakers, this.breakers.acquire, AcquireRequest.fromPartial({ breaker, ...fields }));
  }

  async permit(breaker: string, fields: Partial<AcquireRequest> = {}): Promise<string> {
    const answer = await this.acquire(breaker, fields);
    assert.equal(answer.decision, Decision.DECISION_PERMITTED);
    return answer.permit;
  }

  report(
    breaker: string,
    permit: string,
    outcome: Outcome,
    fields: Partial<ReportRequest> = {},
  ): Promise<ReportResponse> {
    const request = ReportRequest.fromPartial({ breaker, permit, outcome, ...fields });
    return ask(this.breakers, this.breakers.report, request);
  }

  /** One whole call: asked for, made, reported. */
  async call(breaker: string, outcome: Outcome): Promise<ReportResponse> {
    return this.report(breaker, await this.permit(breaker), outcome);
  }

  /** Fails as often in a row as the default policy stands. */
  async open(breaker: string): Promise<void> {
    for (let failure = 1; failure <= 5; failure++) {
      const { state } = await this.call(breaker, Outcome.OUTCOME_FAILURE);
      assert.equal(state, failure < 5 ? State.STATE_CLOSED : State.STATE_OPEN);
    }
  }

  state(breaker: string): Promise<GetStateResponse> {
    return ask(this.breakers, this.breakers.getState, { breaker });
  }

  async advance(amount: number): Promise<void> {
    await ask(this.clock, this.clock.advance, { duration: seconds(amount) });
  }

  watch(request: DeepPartial<WatchEventsRequest> = {}): Watch {
    return new Watch(this.breakers.watchEvents(WatchEventsRequest.fromPartial(request), streamOptions()));
  }

  session(): Session {
    return new Session(this.breakers.session(streamOptions()));
  }
}

type Message = NonNullable<WatchEventsResponse["message"]>;

/** An open watch. */
export class Watch extends Reader<WatchEventsResponse> {
  token = "";

  /** The next message, passing over those that only say "still here". Undefined at the end. */
  async message(): Promise<Message | undefined> {
    for (;;) {
      const response = await this.next();
      if (!response) return undefined;
      assert(response.resumeToken);
      this.token = response.resumeToken;
      if (response.message && response.message.$case !== "progress") return response.message;
    }
  }

  async event(): Promise<Event> {
    const message = await this.message();
    assert(message?.$case === "event", JSON.stringify(message?.$case));
    return message.event;
  }

  /** All parts of the snapshot that comes next. */
  async snapshot(): Promise<Map<string, BreakerStatus>> {
    const breakers = new Map<string, BreakerStatus>();
    for (;;) {
      const message = await this.message();
      assert(message?.$case === "snapshot", JSON.stringify(message?.$case));
      for (const status of message.snapshot.breakers) breakers.set(status.breaker, status);
      for (const gone of message.snapshot.deleted) breakers.delete(gone);
      if (message.snapshot.complete) return breakers;
    }
  }
}

/** An open session: every frame is answered by one frame. */
export class Session extends Reader<SessionResponse> {
  constructor(private readonly duplex: ClientDuplexStream<SessionRequest, SessionResponse>) {
    super(duplex);
  }

  async ask(frame: DeepPartial<SessionRequest>): Promise<SessionResponse> {
    this.duplex.write(SessionRequest.fromPartial(frame));
    const answer = await this.next();
    assert(answer, "the server ended the session");
    return answer;
  }

  /** Says that no more frames follow; the server then ends its side. */
  end(): void {
    this.duplex.end();
  }
}
