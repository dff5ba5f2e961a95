"""Between the proto's messages and the client's own values. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuseboard._local import FAILURE_THRESHOLD, OPEN_DURATION_S, LocalRule
from fuseboard._view import FOREVER, OVERRIDES, REASONS, STATES, View, seconds
from fuseboard.v1 import breaker_pb2, breaker_service_pb2, event_pb2, policy_pb2

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

OUTCOMES = {
    "success": breaker_pb2.OUTCOME_SUCCESS,
    "failure": breaker_pb2.OUTCOME_FAILURE,
    "timeout": breaker_pb2.OUTCOME_TIMEOUT,
    "ignored": breaker_pb2.OUTCOME_IGNORED,
    "cancelled": breaker_pb2.OUTCOME_CANCELLED,
}
KINDS = {
    number: name.removeprefix("EVENT_KIND_").lower()
    for name, number in event_pb2.EventKind.items()
    if number != event_pb2.EVENT_KIND_UNSPECIFIED
}
OWN_SCOPE = {
    event_pb2.EVENT_KIND_CALLER_ISOLATED,
    event_pb2.EVENT_KIND_CALLER_HALF_OPENED,
    event_pb2.EVENT_KIND_CALLER_RESTORED,
}


def put_seconds(duration: Duration, value: float) -> None:
    """Sets a duration, rounded to nanoseconds."""
    duration.FromNanoseconds(round(value * 1e9))


def local_rule(policy: policy_pb2.Policy) -> LocalRule:
    """What the local breaker takes from a policy; what is unset or off there has the defaults."""
    return LocalRule(
        failure_threshold=policy.failure_threshold or FAILURE_THRESHOLD,
        monitoring_period=seconds(policy.monitoring_period),
        open_duration=seconds(policy.open_duration) or OPEN_DURATION_S,
    )


def has_window_rule(policy: policy_pb2.Policy) -> bool:
    """Whether a policy has a rule that a single failure may complete."""
    return bool(policy.failure_count_threshold or policy.failure_rate_threshold or policy.slow_call_rate_threshold)


def view_of_answer(answer: breaker_service_pb2.SessionAcquired, before: View | None, now: float) -> View:
    """What an answer to an acquire tells of the breaker.

    Of the caller's own scope it tells the generation alone. Where that is not the one that is known, calls are asked
    for until a report's answer or an event tells the state.
    """
    caller_state, caller_until = "closed", FOREVER
    if answer.reason == breaker_pb2.REJECTION_REASON_CALLER_ISOLATED:
        caller_state = "half_open"
    elif before and before.caller_generation == answer.caller_generation:
        caller_state, caller_until = before.caller_state, before.caller_until
    elif answer.caller_generation:
        caller_state = "half_open"
    open_until = FOREVER
    if answer.reason == breaker_pb2.REJECTION_REASON_OPEN:
        open_until = now + seconds(answer.retry_after)
    if before and before.generation == answer.generation:
        # What the watch said of the deadline is exact.
        open_until = min(open_until, before.open_until)
    return View(
        state=STATES[answer.state],
        generation=answer.generation,
        override=OVERRIDES.get(answer.override_mode, ""),
        open_until=open_until,
        override_until=before.override_until if before else FOREVER,
        caller_state=caller_state,
        caller_generation=answer.caller_generation,
        caller_until=caller_until,
        policy_version=before.policy_version if before else 0,
    )


def view_of_report(answer: breaker_service_pb2.SessionReported, before: View | None) -> View:
    """What an answer to a report tells. An open state without its deadline is asked for with the next call."""
    same = before is not None and before.generation == answer.generation
    same_scope = before is not None and before.caller_generation == answer.caller_generation
    return View(
        state=STATES[answer.state],
        generation=answer.generation,
        override=OVERRIDES.get(answer.override_mode, ""),
        open_until=before.open_until if before and same else FOREVER,
        override_until=before.override_until if before and same else FOREVER,
        caller_state=STATES.get(answer.caller_state, "closed"),
        caller_generation=answer.caller_generation,
        caller_until=before.caller_until if before and same_scope else FOREVER,
        policy_version=before.policy_version if before else 0,
    )


def reason_of(reason: int) -> str:
    """A rejection's reason in words; of a newer server perhaps one that is not known here."""
    return REASONS.get(reason, "open")
