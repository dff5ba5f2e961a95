/** Between the proto's messages and the client's own values. Pure. */

import type { BreakerEvent, EventKind as Kind } from "./events.js";
import { Outcome as PbOutcome, TripRule } from "./gen/fuseboard/v1/breaker.js";
import { type Event, EventKind, EventReason } from "./gen/fuseboard/v1/event.js";
import {
  ExpiredPermit as PbExpired,
  Policy as PbPolicy,
  TripOn as PbTripOn,
  Voters as PbVoters,
} from "./gen/fuseboard/v1/policy.js";
import { FAILURE_THRESHOLD, type LocalRule, OPEN_DURATION_MS } from "./local.js";
import type { ExpiredPermit, Outcome, Policy } from "./options.js";
import { durationOf, millis, STATES } from "./view.js";

export const OUTCOMES: Record<Outcome, PbOutcome> = {
  success: PbOutcome.OUTCOME_SUCCESS,
  failure: PbOutcome.OUTCOME_FAILURE,
  timeout: PbOutcome.OUTCOME_TIMEOUT,
  ignored: PbOutcome.OUTCOME_IGNORED,
  cancelled: PbOutcome.OUTCOME_CANCELLED,
};

/** What the local breaker takes from a policy; what is unset or off there has the defaults. */
export const localRule = (policy: PbPolicy): LocalRule => ({
  failureThreshold: policy.failureThreshold || FAILURE_THRESHOLD,
  monitoringPeriodMs: millis(policy.monitoringPeriod),
  openDurationMs: millis(policy.openDuration) || OPEN_DURATION_MS,
});

/** A policy has a rule that a single failure may complete. */
export const hasWindowRule = (policy: PbPolicy): boolean =>
  Boolean(policy.failureCountThreshold || policy.failureRateThreshold || policy.slowCallRateThreshold);

const EXPIRED: Record<ExpiredPermit, PbExpired> = {
  failure: PbExpired.EXPIRED_PERMIT_FAILURE,
  timeout: PbExpired.EXPIRED_PERMIT_TIMEOUT,
  ignored: PbExpired.EXPIRED_PERMIT_IGNORED,
};
const VOTERS = { instance: PbVoters.VOTERS_INSTANCE, service: PbVoters.VOTERS_SERVICE };
const TRIP_ON = { any: PbTripOn.TRIP_ON_ANY, failure: PbTripOn.TRIP_ON_FAILURE };

/** The proto's number of a choice. Throws a `RangeError` that names the field where it is none. */
function choice<T extends string, N>(name: string, value: T | undefined, choices: Record<T, N>): N | undefined {
  if (value !== undefined && !Object.hasOwn(choices, value)) {
    throw new RangeError(`${name} is ${JSON.stringify(value)}: say one of ${Object.keys(choices).join(", ")}`);
  }
  return value && choices[value];
}

const duration = (ms: number | undefined) => (ms === undefined ? undefined : durationOf(ms));

/** The message that is declared. */
export const policyOf = (policy: Policy): PbPolicy =>
  PbPolicy.fromPartial({
    failureThreshold: policy.failureThreshold,
    monitoringPeriod: duration(policy.monitoringPeriodMs),
    failureCountThreshold: policy.failureCountThreshold,
    failureRateThreshold: policy.failureRateThreshold,
    slowCallDuration: duration(policy.slowCallDurationMs),
    slowCallRateThreshold: policy.slowCallRateThreshold,
    slowCallMinimumCalls: policy.slowCallMinimumCalls,
    window: policy.window && {
      kind:
        "calls" in policy.window
          ? { $case: "count", count: { calls: policy.window.calls } }
          : { $case: "time", time: { duration: duration(policy.window.durationMs), slices: policy.window.slices } },
    },
    minimumCalls: policy.minimumCalls,
    openDuration: duration(policy.openDurationMs),
    openBackoff: policy.openBackoff && {
      multiplier: policy.openBackoff.multiplier,
      maxDuration: duration(policy.openBackoff.maxDurationMs),
      jitter: policy.openBackoff.jitter,
    },
    probes: policy.probes,
    successesToClose: policy.successesToClose,
    failuresToReopen: policy.failuresToReopen,
    halfOpenMaxDuration: duration(policy.halfOpenMaxDurationMs),
    retryAfterMax: duration(policy.retryAfterMaxMs),
    lease: duration(policy.leaseMs),
    minCallers: policy.minCallers,
    share: policy.share,
    expiredProbe: choice("expiredProbe", policy.expiredProbe, EXPIRED),
    expiredPermit: choice("expiredPermit", policy.expiredPermit, EXPIRED),
    voters: choice("voters", policy.voters, VOTERS),
    tripOn: choice("tripOn", policy.tripOn, TRIP_ON),
    openDurationMin: duration(policy.openDurationMinMs),
  });

/** An enum's name without its prefix, in small letters. */
const word = (names: Record<number, string>, value: number, prefix: string): string =>
  (names[value] ?? "unknown").replace(prefix, "").toLowerCase();

/** An event as listeners get it. */
export function told(event: Event): BreakerEvent {
  const { evidence, status } = event;
  return {
    kind: word(EventKind as never, event.kind, "EVENT_KIND_") as Kind,
    breaker: event.breaker,
    sequence: event.sequence,
    generation: event.generation,
    from: STATES[event.from],
    to: STATES[event.to],
    reason: word(EventReason as never, event.reason, "EVENT_REASON_"),
    rule: evidence?.rule ? word(TripRule as never, evidence.rule, "TRIP_RULE_") : undefined,
    failures: evidence?.consecutiveFailures ?? 0,
    caller: status?.caller?.caller || evidence?.caller || "",
    actor: event.actor,
    comment: event.comment,
    time: event.eventTime,
    count: Math.max(event.count, 1),
    firstTime: event.firstEventTime ?? event.eventTime,
    lost: 0,
  };
}
