"""The operator's API: lists, policies, history, and what the server tells about itself."""

import pytest

from api import Api, admin, breaker, event, in_seconds, policy, seconds, service


def test_breakers_are_listed_in_pages_in_the_order_of_their_keys(api: Api, key: str) -> None:
    names = [f"{key}/{number}" for number in range(7)]
    for name in names:
        api.acquire(name)
    listed: list[str] = []
    token = ""
    while True:
        page = api.operator.ListBreakers(
            admin.ListBreakersRequest(prefix=f"{key}/", page_size=3, page_token=token), timeout=10
        )
        assert len(page.breakers) <= 3
        listed += [it.breaker for it in page.breakers]
        token = page.next_page_token
        if not token:
            break
    assert listed == names


def test_a_list_can_be_narrowed_to_states(api: Api, key: str) -> None:
    api.open(f"{key}/broken")
    api.acquire(f"{key}/fine")
    page = api.operator.ListBreakers(
        admin.ListBreakersRequest(prefix=f"{key}/", states=[breaker.STATE_OPEN]), timeout=10
    )
    assert [it.breaker for it in page.breakers] == [f"{key}/broken"]


def test_a_policy_by_pattern_holds_for_new_and_known_breakers(api: Api, key: str) -> None:
    api.acquire(f"{key}/known")
    answer = api.operator.SetPolicy(
        admin.SetPolicyRequest(
            pattern=f"{key}/*", policy=policy.Policy(failure_threshold=1), actor="ana", reason="careful"
        ),
        timeout=10,
    )
    assert answer.entry.origin == admin.POLICY_ORIGIN_API
    assert answer.breakers_changed == 1
    for name in ("known", "new"):
        assert api.call(f"{key}/{name}", breaker.OUTCOME_FAILURE).state == breaker.STATE_OPEN
    in_force = api.state(f"{key}/new").policy
    assert list(in_force.sources) == [f"api:{key}/*", "default"]

    api.operator.DeletePolicy(admin.DeletePolicyRequest(pattern=f"{key}/*", actor="ana"), timeout=10)
    assert api.call(f"{key}/later", breaker.OUTCOME_FAILURE).state == breaker.STATE_CLOSED


def test_a_change_of_policy_closes_no_open_breaker(api: Api, key: str) -> None:
    api.open(key)
    api.advance(10)
    api.operator.SetPolicy(
        admin.SetPolicyRequest(
            pattern=key, policy=policy.Policy(failure_threshold=100, open_duration=seconds(300)), actor="ana"
        ),
        timeout=10,
    )
    answer = api.acquire(key)
    assert answer.reason == breaker.REJECTION_REASON_OPEN
    assert in_seconds(answer.retry_after) == pytest.approx(20, abs=0.1), "the running open period stays"


def test_the_history_tells_a_breakers_life_in_order_and_in_pages(api: Api, key: str) -> None:
    api.open(key)
    api.advance(30)
    api.call(key, breaker.OUTCOME_SUCCESS)
    api.breakers.Reset(service.ResetRequest(breaker=key, actor="ana"), timeout=10)
    events: list[event.Event] = []
    token = ""
    while True:
        page = api.operator.ListEvents(admin.ListEventsRequest(breaker=key, page_size=3, page_token=token), timeout=10)
        events += page.events
        token = page.next_page_token
        if not token:
            break
    assert [it.kind for it in events] == [
        event.EVENT_KIND_OPENED,
        event.EVENT_KIND_HALF_OPENED,
        event.EVENT_KIND_CLOSED,
        event.EVENT_KIND_RESET,
    ]
    newest = api.operator.ListEvents(admin.ListEventsRequest(breaker=key, newest_first=True, page_size=1), timeout=10)
    assert newest.events[0] == events[-1]


def test_the_server_tells_about_itself(api: Api, key: str) -> None:
    api.open(key)
    info = api.operator.GetServerInfo(admin.GetServerInfoRequest(), timeout=10)
    assert info.version
    assert info.store == "memory"
    assert info.store_healthy
    assert info.history
    assert not info.draining
    assert 0 < info.oldest_sequence <= info.newest_sequence
    assert info.limits
    assert all(limit.name and limit.max for limit in info.limits)
    watch = api.watch(resume_token=info.oldest_resume_token)
    assert watch.event().sequence == info.oldest_sequence
    watch.close()
