/** What a client knows of a breaker. Pure: instants are of the client's monotonic clock and come as arguments. */
import {
  type BreakerStatus,
  type CallerStatus,
  OverrideMode,
  RejectionReason as PbReason,
  State as PbState,
} from "./gen/fuseboard/v1/breaker.js";
import type { SessionAcquired, SessionReported } from "./gen/fuseboard/v1/breaker_service.js";
import type { Duration } from "./gen/google/protobuf/duration.js";
import type { RejectionReason, State } from "./options.js";

/** Where a breaker stands, as far as the server has told. Replaced, never changed. */
export interface View {
  state: State;
  generation: number;
  override: "" | "forced_open" | "forced_closed" | "shadow";
  /** When the open period passes. Infinity: not told. */
  openUntil: number;
  overrideUntil: number;
  /** The state of this caller's own scope. */
  callerState: State;
  callerGeneration: number;
  callerUntil: number;
  policyVersion: number;
}

export const STATES: Record<number, State> = {
  [PbState.STATE_CLOSED]: "closed",
  [PbState.STATE_OPEN]: "open",
  [PbState.STATE_HALF_OPEN]: "half_open",
};
const OVERRIDES: Record<number, View["override"]> = {
  [OverrideMode.OVERRIDE_MODE_FORCED_OPEN]: "forced_open",
  [OverrideMode.OVERRIDE_MODE_FORCED_CLOSED]: "forced_closed",
  [OverrideMode.OVERRIDE_MODE_SHADOW]: "shadow",
};
export const REASONS: Record<number, RejectionReason> = {
  [PbReason.REJECTION_REASON_OPEN]: "open",
  [PbReason.REJECTION_REASON_HALF_OPEN_FULL]: "half_open_full",
  [PbReason.REJECTION_REASON_CALLER_ISOLATED]: "caller_isolated",
  [PbReason.REJECTION_REASON_FORCED_OPEN]: "forced_open",
};
/** What is told to wait where an override has no end that is known. */
const OVERRIDE_RETRY_AFTER_MS = 30_000;
const RETRY_AFTER_MIN_MS = 10;

export const closed = (generation: number): View => ({
  state: "closed",
  generation,
  override: "",
  openUntil: Number.POSITIVE_INFINITY,
  overrideUntil: Number.POSITIVE_INFINITY,
  callerState: "closed",
  callerGeneration: 0,
  callerUntil: Number.POSITIVE_INFINITY,
  policyVersion: 0,
});

/** Calls are permitted without asking, as long as the view is fresh. */
export const permits = (view: View): boolean =>
  view.state === "closed" && view.callerState === "closed" && view.override !== "forced_open";

/** Why a call is rejected and for how long, without asking; also when the view is old. */
export function rejects(view: View, now: number): { reason: RejectionReason; retryAfterMs: number } | undefined {
  const left = (until: number) => Math.max(until - now, RETRY_AFTER_MIN_MS);
  if (view.override === "forced_open") {
    return { reason: "forced_open", retryAfterMs: Math.min(left(view.overrideUntil), OVERRIDE_RETRY_AFTER_MS) };
  }
  if (view.override) {
    return undefined;
  }
  if (view.state === "open" && now < view.openUntil && view.openUntil < Number.POSITIVE_INFINITY) {
    return { reason: "open", retryAfterMs: left(view.openUntil) };
  }
  if (view.callerState === "open" && now < view.callerUntil && view.callerUntil < Number.POSITIVE_INFINITY) {
    return { reason: "caller_isolated", retryAfterMs: left(view.callerUntil) };
  }
  return undefined;
}

/** A proto duration as milliseconds. */
export const millis = (duration: Duration | undefined): number =>
  duration ? duration.seconds * 1e3 + duration.nanos / 1e6 : 0;

/** Milliseconds as a proto duration. */
export function durationOf(ms: number): Duration {
  const nanos = Math.round((ms % 1e3) * 1e6);
  return { seconds: Math.floor(ms / 1e3) + (nanos >= 1e9 ? 1 : 0), nanos: nanos % 1e9 };
}

const until = (remaining: Duration | undefined, now: number): number =>
  remaining ? now + millis(remaining) : Number.POSITIVE_INFINITY;

/**
 * The view after a status. `toldAt` is the server's time of it, where known. `scope`: what it says of the caller is said
 * of this one (and nothing said means that it is not isolated); else what is known of the caller stands.
 */
export function ofStatus(
  status: BreakerStatus,
  before: View | undefined,
  now: number,
  { toldAt, scope = false }: { toldAt?: Date | undefined; scope?: boolean } = {},
): View {
  const isEnding = toldAt && status.overrideExpireTime;
  const view: View = {
    ...closed(status.generation),
    state: STATES[status.state] ?? "half_open",
    override: OVERRIDES[status.overrideMode] ?? "",
    openUntil: until(status.stateRemaining, now),
    overrideUntil: isEnding ? now + status.overrideExpireTime!.getTime() - toldAt.getTime() : Number.POSITIVE_INFINITY,
    policyVersion: status.policyVersion,
  };
  if (scope) {
    return status.caller ? withScope(view, status.caller, now) : view;
  }
  return before ? keepScope(view, before) : view;
}

const withScope = (view: View, caller: CallerStatus, now: number): View => ({
  ...view,
  callerState: STATES[caller.state] ?? "half_open",
  callerGeneration: caller.generation,
  callerUntil: until(caller.stateRemaining, now),
});

/** The view with what another knows of the caller's scope. */
export const keepScope = (view: View, other: View): View => ({
  ...view,
  callerState: other.callerState,
  callerGeneration: other.callerGeneration,
  callerUntil: other.callerUntil,
});

/**
 * What an answer to an acquire tells. Of the caller's own scope it tells the generation alone: where that is not the one
 * that is known, calls are asked for until a report's answer or an event tells the state.
 */
export function ofAcquired(answer: SessionAcquired, before: View | undefined, now: number): View {
  let view: View = {
    ...closed(answer.generation),
    state: STATES[answer.state] ?? "half_open",
    override: OVERRIDES[answer.overrideMode] ?? "",
    callerGeneration: answer.callerGeneration,
    overrideUntil: before?.overrideUntil ?? Number.POSITIVE_INFINITY,
    policyVersion: before?.policyVersion ?? 0,
  };
  if (answer.reason === PbReason.REJECTION_REASON_OPEN) {
    view.openUntil = now + millis(answer.retryAfter);
  }
  if (before?.generation === answer.generation) {
    // What the watch said of the deadline is exact.
    view.openUntil = Math.min(view.openUntil, before.openUntil);
  }
  if (answer.reason === PbReason.REJECTION_REASON_CALLER_ISOLATED) {
    view.callerState = "half_open";
  } else if (before?.callerGeneration === answer.callerGeneration) {
    view = keepScope(view, before);
  } else if (answer.callerGeneration) {
    view.callerState = "half_open";
  }
  return view;
}

/** What an answer to a report tells. An open state without its deadline is asked for with the next call. */
export function ofReported(answer: SessionReported, before: View | undefined): View {
  const same = before?.generation === answer.generation;
  const sameScope = before?.callerGeneration === answer.callerGeneration;
  return {
    state: STATES[answer.state] ?? "half_open",
    generation: answer.generation,
    override: OVERRIDES[answer.overrideMode] ?? "",
    openUntil: same ? before.openUntil : Number.POSITIVE_INFINITY,
    overrideUntil: same ? before.overrideUntil : Number.POSITIVE_INFINITY,
    callerState: STATES[answer.callerState] ?? "closed",
    callerGeneration: answer.callerGeneration,
    callerUntil: sameScope ? before.callerUntil : Number.POSITIVE_INFINITY,
    policyVersion: before?.policyVersion ?? 0,
  };
}
