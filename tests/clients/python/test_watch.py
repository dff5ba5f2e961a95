"""Following what happens: complete, in order, and resumed where it was left."""

from api import Api, admin, breaker, event, service
from harness import Fuseboard


def only(*breakers: str) -> service.WatchFilter:
    return service.WatchFilter(breakers=breakers)


def test_the_first_message_is_a_snapshot_of_what_the_filter_matches(api: Api, key: str) -> None:
    api.open(f"{key}/a")
    api.acquire(f"{key}/b")
    api.acquire(f"other-{key}")
    watch = api.watch(filter=service.WatchFilter(prefixes=[f"{key}/"]))
    snapshot = watch.snapshot()
    assert {name: status.state for name, status in snapshot.items()} == {
        f"{key}/a": breaker.STATE_OPEN,
        f"{key}/b": breaker.STATE_CLOSED,
    }
    assert snapshot[f"{key}/a"].state_remaining.seconds == 30
    watch.close()


def test_a_watch_resumed_by_its_token_misses_nothing_and_sees_nothing_twice(api: Api, key: str) -> None:
    first = api.watch(filter=only(key))
    first.snapshot()
    api.open(key)
    opened = first.event()
    first.close()

    api.advance(30)
    api.call(key, breaker.OUTCOME_SUCCESS)

    second = api.watch(filter=only(key), resume_token=first.token)
    half_opened, closed = second.event(), second.event()
    assert (half_opened.kind, closed.kind) == (event.EVENT_KIND_HALF_OPENED, event.EVENT_KIND_CLOSED)
    assert half_opened.sequence > opened.sequence
    api.breakers.Reset(service.ResetRequest(breaker=key), timeout=10)
    assert second.event().kind == event.EVENT_KIND_RESET, "and it goes on live"
    second.close()


def test_every_message_carries_a_token_that_goes_on_right_after_it(api: Api, key: str) -> None:
    watch = api.watch(filter=only(key), skip_snapshot=True)
    for _ in range(3):
        api.open(key)
        api.breakers.Reset(service.ResetRequest(breaker=key), timeout=10)
    seen = []
    for _ in range(6):
        seen.append((watch.event(), watch.token))
    watch.close()
    for position, (_, token) in enumerate(seen[:-1]):
        resumed = api.watch(filter=only(key), resume_token=token)
        assert resumed.event() == seen[position + 1][0]
        resumed.close()


def test_a_token_of_another_server_is_answered_by_a_resync_and_a_snapshot(api: Api, key: str) -> None:
    with Fuseboard("--manual-clock") as other:
        elsewhere = Api(other).watch()
        elsewhere.message()
        token = elsewhere.token
        elsewhere.close()
    api.acquire(key)
    watch = api.watch(filter=only(key), resume_token=token)
    message = watch.message()
    assert message.WhichOneof("message") == "resync", message
    assert message.resync.reason == service.RESYNC_REASON_OTHER_HISTORY
    assert key in watch.snapshot()
    watch.close()


def test_kinds_narrow_the_events(api: Api, key: str) -> None:
    watch = api.watch(filter=service.WatchFilter(breakers=[key], kinds=[event.EVENT_KIND_RESET]), skip_snapshot=True)
    api.open(key)
    api.breakers.Reset(service.ResetRequest(breaker=key), timeout=10)
    assert watch.event().kind == event.EVENT_KIND_RESET
    watch.close()


def test_every_watcher_sees_the_same_events_in_the_same_order(api: Api, key: str) -> None:
    prefix = service.WatchFilter(prefixes=[key])
    watches = [api.watch(filter=prefix, skip_snapshot=True) for _ in range(10)]
    for number in range(10):
        api.open(f"{key}/{number % 3}")
        api.breakers.Reset(service.ResetRequest(breaker=f"{key}/{number % 3}"), timeout=10)
    stories = [[watch.event() for _ in range(20)] for watch in watches]
    assert all(story == stories[0] for story in stories)
    sequences = [it.sequence for it in stories[0]]
    assert sequences == sorted(set(sequences))
    for watch in watches:
        watch.close()


def test_deleting_a_breaker_is_an_event_and_its_successor_has_a_higher_generation(api: Api, key: str) -> None:
    before = api.acquire(key)
    watch = api.watch(filter=only(key), skip_snapshot=True)
    api.operator.DeleteBreaker(admin.DeleteBreakerRequest(breaker=key, actor="ana", reason="gone"), timeout=10)
    deleted = watch.event()
    assert (deleted.kind, deleted.actor, deleted.comment) == (event.EVENT_KIND_DELETED, "ana", "gone")
    assert api.acquire(key).generation > before.generation
    late = api.report(key, before.permit, breaker.OUTCOME_FAILURE)
    assert late.result == service.REPORT_RESULT_STALE
    watch.close()
