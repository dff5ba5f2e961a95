"""Many calls on one stream, and the batches of clients that decide by themselves."""

import grpc
import pytest

from api import Api, breaker, reason, seconds, service

Acquire = service.SessionAcquire
Report = service.SessionReport
Tally = service.Tally


def test_a_session_answers_every_item_under_its_number(api: Api, key: str) -> None:
    session = api.session()
    answer = session.ask(acquires=[Acquire(number=number, breaker=f"{key}/{number}") for number in (7, 3, 5)])
    assert {it.number for it in answer.acquired} == {3, 5, 7}
    assert all(it.decision == breaker.DECISION_PERMITTED for it in answer.acquired)

    reports = [
        Report(number=it.number, breaker=f"{key}/{it.number}", permit=it.permit, outcome=breaker.OUTCOME_SUCCESS)
        for it in answer.acquired
    ]
    answer = session.ask(reports=reports)
    assert {(it.number, it.result) for it in answer.reported} == {
        (number, service.REPORT_RESULT_COUNTED) for number in (3, 5, 7)
    }
    session.close()
    assert list(session) == []


def test_a_key_introduced_once_is_then_named_by_its_handle(api: Api, key: str) -> None:
    session = api.session()
    answer = session.ask(
        caller="shop/1",
        introductions=[service.Introduction(handle=1, breaker=key)],
        acquires=[Acquire(number=number, handle=1) for number in range(5)],
    )
    assert len(answer.acquired) == 5
    answer = session.ask(
        reports=[
            Report(number=it.number, handle=1, permit=it.permit, outcome=breaker.OUTCOME_FAILURE)
            for it in answer.acquired
        ]
    )
    assert [it.state for it in answer.reported].count(breaker.STATE_OPEN) == 1
    (rejected,) = session.ask(acquires=[Acquire(number=9, handle=1)]).acquired
    assert rejected.decision == breaker.DECISION_REJECTED
    assert rejected.reason == breaker.REJECTION_REASON_OPEN
    assert rejected.retry_after.seconds == 30
    assert api.state(key).last_event.evidence.caller == "shop/1"
    session.close()


def test_a_permit_of_one_session_is_reported_on_the_next_and_counts_once(api: Api, key: str) -> None:
    first = api.session()
    (granted,) = first.ask(acquires=[Acquire(number=1, breaker=key)]).acquired
    first.stream.cancel()

    second = api.session()
    report = Report(number=1, breaker=key, permit=granted.permit, outcome=breaker.OUTCOME_FAILURE)
    (counted,) = second.ask(reports=[report]).reported
    (again,) = second.ask(reports=[report]).reported
    assert (counted.result, again.result) == (service.REPORT_RESULT_COUNTED, service.REPORT_RESULT_DUPLICATE)
    assert api.state(key).status.failures == 1
    second.close()


def test_an_item_at_fault_has_an_error_of_its_own_and_the_session_goes_on(api: Api, key: str) -> None:
    session = api.session()
    answer = session.ask(
        acquires=[
            Acquire(number=1, breaker=key),
            Acquire(number=2, breaker="not a key"),
            Acquire(number=3, handle=42),
        ],
        reports=[Report(number=4, breaker=key, permit=b"forged", outcome=breaker.OUTCOME_FAILURE)],
    )
    assert [it.number for it in answer.acquired] == [1]
    errors = {it.number: it for it in answer.errors}
    assert set(errors) == {2, 3, 4}
    assert {it.code for it in errors.values()} == {grpc.StatusCode.INVALID_ARGUMENT.value[0]}
    assert [errors[number].field for number in (2, 3, 4)] == ["breaker", "handle", "permit"]
    assert all(it.message and it.reason for it in errors.values())

    assert len(session.ask(acquires=[Acquire(number=5, breaker=key)]).acquired) == 1
    session.close()


def test_a_bad_introduction_is_told_and_the_session_goes_on(api: Api, key: str) -> None:
    session = api.session()
    answer = session.ask(introductions=[service.Introduction(handle=0, breaker=key)])
    (error,) = answer.errors
    assert error.number == 0
    assert "introductions" in error.field
    assert len(session.ask(acquires=[Acquire(number=1, breaker=key)]).acquired) == 1
    session.close()


def test_a_frame_above_the_limit_ends_the_session_and_nothing_else(api: Api, key: str) -> None:
    session = api.session()
    with pytest.raises(grpc.RpcError) as caught:
        session.ask(acquires=[Acquire(number=1, breaker=key, request_id="x" * (2 << 20))])
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert api.acquire(key).decision == breaker.DECISION_PERMITTED


def test_a_frame_of_too_many_items_is_a_limit(api: Api, key: str) -> None:
    session = api.session()
    with pytest.raises(grpc.RpcError) as caught:
        session.ask(acquires=[Acquire(number=number, breaker=key) for number in range(10_001)])
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason(caught.value)


def failures(key: str, generation: int, count: int) -> Tally:
    return Tally(breaker=key, generation=generation, failures=count, trailing_failures=count)


def test_a_batch_counts_once_however_often_it_is_sent(api: Api, key: str) -> None:
    generation = api.acquire(key).generation
    batch = service.ReportBatchRequest(
        client_id=f"{key}/process-1",
        batch_sequence=1,
        tallies=[Tally(breaker=key, generation=generation, successes=10, failures=4, trailing_failures=2)],
    )
    first = api.breakers.ReportBatch(batch, timeout=10)
    assert (first.duplicate, first.counted, first.stale) == (False, 1, 0)
    again = api.breakers.ReportBatch(batch, timeout=10)
    assert again.duplicate
    state = api.state(key)
    assert (state.window.successes, state.window.failures) == (10, 4)
    assert state.status.failures == 2, "the failures since the tally's last success"


def test_a_batch_can_trip_and_its_sender_is_told(api: Api, key: str) -> None:
    generation = api.acquire(key).generation
    answer = api.breakers.ReportBatch(
        service.ReportBatchRequest(
            client_id=f"{key}/process-1",
            batch_sequence=1,
            tallies=[failures(key, generation, 3), failures(key, generation, 2)],
        ),
        timeout=10,
    )
    assert answer.counted == 2
    (changed,) = answer.changed
    assert (changed.breaker, changed.state) == (key, breaker.STATE_OPEN)
    assert changed.generation > generation


def test_a_tally_of_an_older_generation_is_stale(api: Api, key: str) -> None:
    generation = api.acquire(key).generation
    api.open(key)
    api.breakers.Reset(service.ResetRequest(breaker=key), timeout=10)
    answer = api.breakers.ReportBatch(
        service.ReportBatchRequest(
            client_id=f"{key}/process-1", batch_sequence=1, tallies=[failures(key, generation, 50)]
        ),
        timeout=10,
    )
    assert (answer.counted, answer.stale) == (0, 1)
    assert [it.breaker for it in answer.changed] == [key]
    assert api.state(key).status.state == breaker.STATE_CLOSED


def test_a_bad_tally_refuses_the_whole_batch(api: Api, key: str) -> None:
    generation = api.acquire(key).generation
    bad = Tally(breaker=key, generation=generation, failures=1, age=seconds(2 * 3600))
    with pytest.raises(grpc.RpcError) as caught:
        api.breakers.ReportBatch(
            service.ReportBatchRequest(
                client_id=f"{key}/process-1", batch_sequence=1, tallies=[failures(key, generation, 1), bad]
            ),
            timeout=10,
        )
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert api.state(key).totals.failures == 0


def test_a_batch_in_a_session_is_the_same_batch(api: Api, key: str) -> None:
    generation = api.acquire(key).generation
    batch = service.ReportBatchRequest(
        client_id=f"{key}/process-1", batch_sequence=1, tallies=[failures(key, generation, 1)]
    )
    session = api.session()
    (answer,) = session.ask(batches=[service.SessionBatch(number=1, batch=batch)]).batches
    assert (answer.number, answer.response.counted) == (1, 1)
    session.close()
    assert api.breakers.ReportBatch(batch, timeout=10).duplicate
    assert api.state(key).status.failures == 1
