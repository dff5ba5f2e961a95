"""One breaker's life, as a service in Python lives it."""

import pytest

from api import Api, admin, breaker, event, in_seconds, policy, seconds, service
from harness import Fuseboard


def test_a_fresh_server_permits_a_key_it_has_never_seen(api: Api, key: str) -> None:
    answer = api.acquire(key)
    assert answer.decision == breaker.DECISION_PERMITTED
    assert answer.state == breaker.STATE_CLOSED
    assert answer.permit.isprintable()
    assert 0 < len(answer.permit) <= 200
    assert in_seconds(answer.lease) == 60
    assert answer.generation >= 1
    assert not answer.HasField("retry_after")


def test_five_failures_in_a_row_open_it_and_it_says_until_when(api: Api, key: str) -> None:
    for _ in range(4):
        assert api.call(key, breaker.OUTCOME_FAILURE).state == breaker.STATE_CLOSED
    assert api.call(key, breaker.OUTCOME_FAILURE).state == breaker.STATE_OPEN

    api.advance(10)
    answer = api.acquire(key)
    assert answer.decision == breaker.DECISION_REJECTED
    assert answer.reason == breaker.REJECTION_REASON_OPEN
    assert in_seconds(answer.retry_after) == pytest.approx(20, abs=0.1)
    assert answer.permit == ""
    assert not answer.HasField("lease")


def test_a_success_clears_the_failures_in_a_row(api: Api, key: str) -> None:
    for _ in range(4):
        api.call(key, breaker.OUTCOME_FAILURE)
    api.call(key, breaker.OUTCOME_SUCCESS)
    for _ in range(4):
        assert api.call(key, breaker.OUTCOME_FAILURE).state == breaker.STATE_CLOSED


def test_timeouts_fail_and_ignored_and_cancelled_calls_move_nothing(api: Api, key: str) -> None:
    for outcome in [breaker.OUTCOME_TIMEOUT, breaker.OUTCOME_FAILURE, breaker.OUTCOME_IGNORED] * 2:
        api.call(key, outcome)
    api.call(key, breaker.OUTCOME_CANCELLED)
    state = api.state(key)
    assert state.status.state == breaker.STATE_CLOSED
    assert state.status.failures == 4
    assert (state.window.failures, state.window.timeouts, state.window.successes) == (4, 2, 0)
    assert state.totals.ignored == 3
    assert api.call(key, breaker.OUTCOME_TIMEOUT).state == breaker.STATE_OPEN


def test_a_watch_sees_open_half_open_and_closed_arrive_live(api: Api, key: str) -> None:
    watch = api.watch(filter=service.WatchFilter(breakers=[key]))
    assert watch.snapshot() == {}

    api.open(key)
    opened = watch.event()
    assert (opened.kind, opened.breaker) == (event.EVENT_KIND_OPENED, key)
    assert (getattr(opened, "from"), opened.to) == (breaker.STATE_CLOSED, breaker.STATE_OPEN)
    assert opened.reason == event.EVENT_REASON_TRIP_RULE
    assert opened.evidence.rule == breaker.TRIP_RULE_FAILURE_THRESHOLD
    assert opened.evidence.consecutive_failures == 5
    assert opened.evidence.threshold == 5
    assert in_seconds(opened.evidence.open_duration) == 30
    assert opened.status.state == breaker.STATE_OPEN

    api.advance(30)
    half_opened = watch.event()
    assert half_opened.kind == event.EVENT_KIND_HALF_OPENED
    assert half_opened.reason == event.EVENT_REASON_OPEN_PERIOD_PASSED
    waited = half_opened.event_time.ToDatetime() - opened.event_time.ToDatetime()
    assert waited.total_seconds() == pytest.approx(30, abs=0.001)

    assert api.call(key, breaker.OUTCOME_SUCCESS).state == breaker.STATE_CLOSED
    closed = watch.event()
    assert closed.kind == event.EVENT_KIND_CLOSED
    assert closed.reason == event.EVENT_REASON_PROBES_SUCCEEDED
    assert closed.evidence.probe_successes == 1

    assert opened.sequence < half_opened.sequence < closed.sequence
    assert opened.generation < half_opened.generation < closed.generation
    watch.close()


def test_a_hundred_callers_at_once_get_exactly_one_probe(api: Api, key: str) -> None:
    api.open(key)
    api.advance(30)
    requests = [service.AcquireRequest(breaker=key, caller=f"shop/{replica}") for replica in range(100)]
    pending = [api.breakers.Acquire.future(request, timeout=20) for request in requests]
    answers = [future.result() for future in pending]
    permitted = [answer for answer in answers if answer.decision == breaker.DECISION_PERMITTED]
    assert len(permitted) == 1
    for answer in answers:
        if answer.decision == breaker.DECISION_REJECTED:
            assert answer.reason == breaker.REJECTION_REASON_HALF_OPEN_FULL
            assert 0.01 <= in_seconds(answer.retry_after) <= 2
    assert api.report(key, permitted[0].permit, breaker.OUTCOME_SUCCESS).state == breaker.STATE_CLOSED


def test_a_failed_probe_opens_it_again(api: Api, key: str) -> None:
    api.open(key)
    api.advance(30)
    assert api.call(key, breaker.OUTCOME_FAILURE).state == breaker.STATE_OPEN
    assert api.acquire(key).reason == breaker.REJECTION_REASON_OPEN


def test_a_probe_that_nobody_reports_counts_as_a_failure_when_its_lease_ends(api: Api, key: str) -> None:
    api.open(key)
    api.advance(30)
    permit = api.permit(key)
    api.advance(60)
    state = api.state(key)
    assert state.status.state == breaker.STATE_OPEN
    assert state.last_event.reason == event.EVENT_REASON_PROBES_FAILED
    assert state.totals.expired == 1
    late = api.report(key, permit, breaker.OUTCOME_SUCCESS)
    assert (late.result, late.state) == (service.REPORT_RESULT_STALE, breaker.STATE_OPEN)


def test_the_same_report_twice_counts_once(api: Api, key: str) -> None:
    permit = api.permit(key)
    assert api.report(key, permit, breaker.OUTCOME_FAILURE).result == service.REPORT_RESULT_COUNTED
    assert api.report(key, permit, breaker.OUTCOME_FAILURE).result == service.REPORT_RESULT_DUPLICATE
    assert api.state(key).status.failures == 1


def test_the_same_request_id_gets_the_same_permit(api: Api, key: str) -> None:
    first = api.acquire(key, caller="shop/1", request_id="a")
    assert api.acquire(key, caller="shop/1", request_id="a") == first
    assert api.acquire(key, caller="shop/1", request_id="b").permit != first.permit
    assert api.acquire(key, caller="shop/2", request_id="a").permit != first.permit


def test_a_report_from_before_the_trip_is_stale_and_moves_nothing(api: Api, key: str) -> None:
    early = api.permit(key)
    api.open(key)
    before = api.state(key)
    late = api.report(key, early, breaker.OUTCOME_SUCCESS)
    assert (late.result, late.state) == (service.REPORT_RESULT_STALE, breaker.STATE_OPEN)
    after = api.state(key)
    assert after.status == before.status
    assert after.totals.stale == before.totals.stale + 1


def test_reset_closes_it_and_forgets_the_failures(api: Api, key: str) -> None:
    api.open(key)
    answer = api.breakers.Reset(service.ResetRequest(breaker=key, reason="fixed", actor="ana"), timeout=10)
    assert answer.status.state == breaker.STATE_CLOSED
    assert answer.status.failures == 0
    state = api.state(key)
    assert state.window == breaker.WindowCounts()
    assert state.last_event.kind == event.EVENT_KIND_RESET
    assert (state.last_event.actor, state.last_event.comment) == ("ana", "fixed")
    assert api.acquire(key).decision == breaker.DECISION_PERMITTED


def test_forced_open_rejects_everybody_until_it_is_cleared(api: Api, key: str) -> None:
    api.operator.SetOverride(
        admin.SetOverrideRequest(breaker=key, mode=breaker.OVERRIDE_MODE_FORCED_OPEN, actor="ana", reason="migration"),
        timeout=10,
    )
    answer = api.acquire(key)
    assert answer.decision == breaker.DECISION_REJECTED
    assert answer.reason == breaker.REJECTION_REASON_FORCED_OPEN
    assert answer.state == breaker.STATE_CLOSED, "the computed state goes on underneath"
    assert answer.override_mode == breaker.OVERRIDE_MODE_FORCED_OPEN
    assert 0.01 <= in_seconds(answer.retry_after) <= 30

    state = api.state(key)
    assert (state.override.actor, state.override.reason) == ("ana", "migration")
    assert not state.override.HasField("expire_time")

    api.operator.ClearOverride(admin.ClearOverrideRequest(breaker=key, actor="ana"), timeout=10)
    assert api.acquire(key).decision == breaker.DECISION_PERMITTED


def test_an_override_ends_by_itself_when_it_expires(api: Api, key: str) -> None:
    watch = api.watch(filter=service.WatchFilter(breakers=[key]), skip_snapshot=True)
    api.operator.SetOverride(
        admin.SetOverrideRequest(
            breaker=key,
            mode=breaker.OVERRIDE_MODE_FORCED_OPEN,
            actor="ana",
            reason="ten seconds",
            expire_after=seconds(10),
        ),
        timeout=10,
    )
    assert watch.event().kind == event.EVENT_KIND_OVERRIDE_SET
    assert in_seconds(api.acquire(key).retry_after) == pytest.approx(10, abs=0.1)
    api.advance(10)
    cleared = watch.event()
    assert cleared.kind == event.EVENT_KIND_OVERRIDE_CLEARED
    assert cleared.reason == event.EVENT_REASON_OVERRIDE_EXPIRED
    assert api.acquire(key).decision == breaker.DECISION_PERMITTED
    watch.close()


def test_forced_closed_permits_while_the_computed_state_is_open(api: Api, key: str) -> None:
    api.open(key)
    api.operator.SetOverride(
        admin.SetOverrideRequest(
            breaker=key, mode=breaker.OVERRIDE_MODE_FORCED_CLOSED, actor="ana", reason="false alarm"
        ),
        timeout=10,
    )
    answer = api.acquire(key)
    assert (answer.decision, answer.state) == (breaker.DECISION_PERMITTED, breaker.STATE_OPEN)
    api.report(key, answer.permit, breaker.OUTCOME_SUCCESS)
    state = api.state(key)
    assert state.status.state == breaker.STATE_OPEN
    assert state.totals.bypassed == 1


def test_a_breaker_in_shadow_permits_and_tells_that_it_would_have_opened(api: Api, key: str) -> None:
    watch = api.watch(
        filter=service.WatchFilter(breakers=[key], kinds=[event.EVENT_KIND_WOULD_HAVE_OPENED]), skip_snapshot=True
    )
    api.operator.SetOverride(
        admin.SetOverrideRequest(breaker=key, mode=breaker.OVERRIDE_MODE_SHADOW, actor="ana", reason="trial"),
        timeout=10,
    )
    for _ in range(6):
        api.call(key, breaker.OUTCOME_FAILURE)
    assert watch.event().evidence.rule == breaker.TRIP_RULE_FAILURE_THRESHOLD
    assert api.acquire(key).decision == breaker.DECISION_PERMITTED
    watch.close()


def test_a_declared_policy_is_exactly_what_holds(api: Api, key: str) -> None:
    wanted = policy.Policy(failure_threshold=2, open_duration=seconds(7))
    answer = api.breakers.Declare(
        service.DeclareRequest(declarations=[service.Declaration(breaker=key, policy=wanted)], caller="shop/1"),
        timeout=10,
    )
    (declared,) = answer.declared
    in_force = declared.policy.policy
    assert (in_force.failure_threshold, in_seconds(in_force.open_duration)) == (2, 7)
    assert in_force.failure_rate_threshold == 0, "the default's other trip rules are off"
    assert declared.policy.sources[0] == "declared"
    assert not declared.policy.differs_from_declared

    assert api.call(key, breaker.OUTCOME_FAILURE).state == breaker.STATE_CLOSED
    assert api.call(key, breaker.OUTCOME_FAILURE).state == breaker.STATE_OPEN
    assert in_seconds(api.acquire(key).retry_after) == pytest.approx(7, abs=0.1)


def test_on_the_real_clock_it_half_opens_by_itself_with_no_traffic(key: str) -> None:
    with Fuseboard() as server:
        api = Api(server)
        declared = service.Declaration(
            breaker=key, policy=policy.Policy(failure_threshold=1, open_duration=seconds(0.1))
        )
        api.breakers.Declare(service.DeclareRequest(declarations=[declared]), timeout=10)
        watch = api.watch(filter=service.WatchFilter(breakers=[key]), skip_snapshot=True)
        api.call(key, breaker.OUTCOME_FAILURE)
        assert watch.event().kind == event.EVENT_KIND_OPENED
        assert watch.event().kind == event.EVENT_KIND_HALF_OPENED
        watch.close()
