"""Is it them or is it us: one sick caller is refused alone, a sick dependency opens the breaker for all."""

from api import Api, breaker, event, service


def isolate(api: Api, key: str) -> None:
    """Two callers work, a third fails as often in a row as the default policy stands."""
    for caller in ["web/1", "web/2"]:
        api.call_as(caller, key, breaker.OUTCOME_SUCCESS)
    for _ in range(5):
        answer = api.call_as("web/3", key, breaker.OUTCOME_FAILURE)
    assert (answer.state, answer.caller_state) == (breaker.STATE_CLOSED, breaker.STATE_OPEN), answer


def test_a_sick_caller_is_refused_alone_and_told_why_and_until_when(api: Api, key: str) -> None:
    isolate(api, key)
    refused = api.acquire(key, caller="web/3")
    assert refused.decision == breaker.DECISION_REJECTED
    assert (refused.state, refused.reason) == (breaker.STATE_CLOSED, breaker.REJECTION_REASON_CALLER_ISOLATED)
    assert 30 <= refused.retry_after.seconds <= 33
    assert api.acquire(key, caller="web/1").decision == breaker.DECISION_PERMITTED
    assert api.acquire(key).decision == breaker.DECISION_PERMITTED


def test_state_says_whether_it_is_them_or_us(api: Api, key: str) -> None:
    isolate(api, key)
    state = api.state(key)
    callers = {numbers.status.caller: numbers for numbers in state.callers}
    assert callers.keys() == {"web/1", "web/2", "web/3"}
    assert [numbers.status.state for _, numbers in sorted(callers.items())] == [
        breaker.STATE_CLOSED,
        breaker.STATE_CLOSED,
        breaker.STATE_OPEN,
    ]
    assert (callers["web/3"].failures, callers["web/1"].successes, state.quorum) == (5, 1, 2)


def test_an_isolated_caller_comes_back_by_probes_of_its_own(api: Api, key: str) -> None:
    watch = api.watch(filter=service.WatchFilter(breakers=[key]), skip_snapshot=True)
    isolate(api, key)
    api.advance(30)
    probe = api.permit(key, caller="web/3")
    assert api.acquire(key, caller="web/3").reason == breaker.REJECTION_REASON_CALLER_ISOLATED
    restored = api.report(key, probe, breaker.OUTCOME_SUCCESS)
    assert (restored.caller_state, restored.caller_generation) == (breaker.STATE_CLOSED, 3)
    moves = [watch.event() for _ in range(3)]
    assert [move.kind for move in moves] == [
        event.EVENT_KIND_CALLER_ISOLATED,
        event.EVENT_KIND_CALLER_HALF_OPENED,
        event.EVENT_KIND_CALLER_RESTORED,
    ]
    assert {move.generation for move in moves} == {1}, "the breaker itself did not move"
    assert {move.status.caller.caller for move in moves} == {"web/3"}
    watch.close()


def test_failures_of_several_open_it_for_all_and_the_event_says_whose(api: Api, key: str) -> None:
    watch = api.watch(filter=service.WatchFilter(breakers=[key], kinds=[event.EVENT_KIND_OPENED]), skip_snapshot=True)
    for _ in range(4):
        for caller in ["web/1", "web/2"]:
            api.call_as(caller, key, breaker.OUTCOME_FAILURE)
    api.call_as("web/2", key, breaker.OUTCOME_FAILURE)
    answer = api.call_as("web/1", key, breaker.OUTCOME_FAILURE)
    assert answer.state == breaker.STATE_OPEN, answer
    evidence = watch.event().evidence
    assert (evidence.quorum, evidence.known_callers) == (2, 2)
    named = [(part.caller, part.failures) for part in [*evidence.callers, *evidence.stood_without]]
    assert sorted(named) == [("web/1", 5), ("web/2", 5)]
    assert api.acquire(key, caller="web/9").reason == breaker.REJECTION_REASON_OPEN
    watch.close()


def test_a_snapshot_tells_the_watcher_where_it_stands_itself(api: Api, key: str) -> None:
    isolate(api, key)
    only = service.WatchFilter(breakers=[key])
    for caller, state in [("web/1", breaker.STATE_CLOSED), ("web/3", breaker.STATE_OPEN)]:
        watch = api.watch(filter=only, caller=caller)
        assert watch.snapshot()[key].caller.state == state
        watch.close()


def test_a_policy_can_want_the_plain_shared_breaker(api: Api, key: str) -> None:
    declaration = service.Declaration(breaker=key)
    declaration.policy.min_callers = 1
    api.breakers.Declare(service.DeclareRequest(declarations=[declaration]), timeout=10)
    api.call_as("web/1", key, breaker.OUTCOME_SUCCESS)
    for _ in range(5):
        answer = api.call_as("web/3", key, breaker.OUTCOME_FAILURE)
    assert answer.state == breaker.STATE_OPEN
