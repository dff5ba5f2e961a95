"""The client for threads, against a server."""

import gc
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import fuseboard
from conftest import Server, until
from fuseboard.testing import ManualClock

POLICY = fuseboard.Policy(failure_threshold=3, open_duration=30)


class PaymentError(Exception):
    """What a guarded call raises."""


def fail() -> None:
    raise PaymentError


def trip(breaker: fuseboard.Breaker) -> None:
    for _ in range(3):
        with pytest.raises(PaymentError):
            breaker.execute(fail)


def test_execute_gives_the_calls_own_result_and_its_own_error(client: fuseboard.Client) -> None:
    breaker = client.breaker("own", policy=POLICY)
    error = PaymentError("mine")

    def raising() -> None:
        raise error

    assert breaker.execute(lambda a, b: a + b, 1, b=2) == 3
    with pytest.raises(PaymentError) as raised:
        breaker.execute(raising)
    assert raised.value is error


def test_a_caller_sees_its_own_trip_at_once(client: fuseboard.Client) -> None:
    breaker = client.breaker("trip", policy=POLICY)
    assert client.ready()
    trip(breaker)
    with pytest.raises(fuseboard.RejectedError) as rejected:
        breaker.execute(fail)
    error = rejected.value
    assert (error.breaker, error.reason, error.state, error.source) == ("trip", "open", "open", "cached")
    assert 0 < error.retry_after <= 31


def test_probes_close_it_again(client: fuseboard.Client, clock: ManualClock) -> None:
    breaker = client.breaker("probe", policy=POLICY)
    trip(breaker)
    clock.advance(31)
    until(lambda: (breaker.view() or {})["state"] == "half_open")
    assert breaker.execute(lambda: "back") == "back"
    assert (breaker.view() or {})["state"] == "closed"


def test_a_fallback_answers_for_rejections_and_failures(client: fuseboard.Client) -> None:
    breaker = client.breaker("fallback", policy=POLICY, fallback=lambda error: type(error).__name__)
    heard = [breaker.execute(fail) for _ in range(4)]
    assert heard == ["PaymentError"] * 3 + ["RejectedError"]


def test_a_classifier_says_what_counts(client: fuseboard.Client) -> None:
    def classify(_result: Any, error: BaseException | None) -> fuseboard.Verdict:
        return fuseboard.Verdict("ignored" if error else "success")

    breaker = client.breaker("classify", policy=POLICY, classify=classify)
    for _ in range(5):
        with pytest.raises(PaymentError):
            breaker.execute(fail)
    assert breaker.execute(lambda: 1) == 1


def test_a_classifier_that_fails_loses_nothing(client: fuseboard.Client) -> None:
    breaker = client.breaker("broken-classifier", policy=POLICY, classify=lambda _result, _error: 1 / 0)  # type: ignore[arg-type,return-value]
    assert breaker.execute(lambda: 1) == 1
    trip(breaker)
    with pytest.raises(fuseboard.RejectedError):
        breaker.execute(fail)


def test_a_decorator_guards_a_function(client: fuseboard.Client) -> None:
    breaker = client.breaker("decorator", policy=POLICY)

    @breaker
    def charge(amount: int) -> int:
        """Charges."""
        return amount

    @breaker.protect(fallback=lambda _error: "fallback")
    def broken() -> str:
        raise PaymentError

    assert charge(5) == 5
    assert charge.__doc__ == "Charges."
    assert broken() == "fallback"


def test_a_permit_is_reported_once_and_never_forgotten(client: fuseboard.Client) -> None:
    breaker = client.breaker("permit", policy=POLICY, mode="strict")
    assert client.ready()
    with breaker.permit() as permit:
        permit.failure("refused")
        permit.success()
    with pytest.raises(PaymentError), breaker.permit():
        fail()
    breaker.acquire()
    gc.collect()
    until(lambda: breaker.state().totals.ignored == 1)
    assert (breaker.state().totals.successes, breaker.state().totals.failures) == (0, 2)


def test_events_are_heard_by_listeners_and_iterators(client: fuseboard.Client) -> None:
    heard: list[fuseboard.Event] = []
    client.on_event(lambda _event: 1 / 0)  # type: ignore[arg-type,return-value]
    client.on_event(heard.append)
    feed = client.events()
    breaker = client.breaker("events", policy=POLICY)
    assert client.ready()
    trip(breaker)
    breaker.reset("test", actor="ana")
    until(lambda: [event.kind for event in heard] == ["opened", "reset"])
    assert heard[0].rule == "failure_threshold"
    assert (heard[1].actor, heard[1].comment) == ("ana", "test")
    assert next(feed) == heard[0]


def test_state_and_reset_of_a_breaker_never_seen_say_so(client: fuseboard.Client) -> None:
    breaker = client.breaker("never-seen")
    with pytest.raises(fuseboard.BreakerNotFoundError):
        breaker.state()
    with pytest.raises(fuseboard.BreakerNotFoundError):
        breaker.reset()


def test_a_policy_can_be_declared_anew_and_loses_no_state(client: fuseboard.Client) -> None:
    breaker = client.breaker("declare", policy=POLICY, revision=1)
    assert client.ready()
    with pytest.raises(PaymentError):
        breaker.execute(fail)
    in_force = breaker.declare(fuseboard.Policy(failure_threshold=2, open_duration=60), revision=2)
    assert in_force.policy.failure_threshold == 2
    with pytest.raises(PaymentError):
        breaker.execute(fail)
    assert (breaker.view() or {})["state"] == "open"


def test_many_threads_lose_no_outcome(client: fuseboard.Client) -> None:
    breaker = client.breaker("threads", policy=fuseboard.Policy(failure_count_threshold=100_000))
    assert client.ready()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: [breaker.execute(int) for _ in range(500)], range(8)))
    until(lambda: breaker.state().totals.successes == 4000)
    assert client.stats().permits == {"cached": 4000}


def test_close_flushes_and_calls_after_it_are_decided_here(server: Server) -> None:
    client = fuseboard.Client(server.address, caller="test/1", report_interval=60)
    breaker = client.breaker("close", policy=POLICY)
    assert client.ready()
    for _ in range(7):
        breaker.execute(int)
    client.close()
    client.close()
    assert client.stats().reported == 7
    assert breaker.execute(lambda: "still") == "still"
    with pytest.raises(fuseboard.FuseboardError):
        breaker.state()


def test_without_a_server_each_rule_decides_at_once() -> None:
    nowhere = "127.0.0.1:1"
    with fuseboard.Client(nowhere) as local:
        breaker = local.breaker("db")
        for _ in range(5):
            with pytest.raises(PaymentError):
                breaker.execute(fail)
        with pytest.raises(fuseboard.RejectedError) as rejected:
            breaker.execute(fail)
        assert rejected.value.source == "local"
    with fuseboard.Client(nowhere, when_unavailable="permit") as permitting:
        for _ in range(9):
            with pytest.raises(PaymentError):
                permitting.breaker("db").execute(fail)
        assert permitting.stats().unreported == 9
    with fuseboard.Client(nowhere, when_unavailable="reject") as rejecting:
        with pytest.raises(fuseboard.RejectedError) as rejected:
            rejecting.breaker("db").execute(int)
        assert rejected.value.reason == "unavailable"


def test_bad_options_are_named() -> None:
    with pytest.raises(ValueError, match="acquire_timeout"):
        fuseboard.Client(acquire_timeout=-1)
    with pytest.raises(ValueError, match="mode"):
        fuseboard.Client(mode="fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="port"):
        fuseboard.Client("localhost")
    client = fuseboard.Client()
    with pytest.raises(ValueError, match="key"):
        client.breaker("no spaces")
    with pytest.raises(ValueError, match="call_timeout"):
        client.breaker("db", call_timeout=0)
    for number in range(1000):
        client.breaker(f"user/{number}")
    with pytest.raises(ValueError, match="1000 breakers"):
        client.breaker("one-more")


def test_a_client_keeps_no_process_alive_and_is_whole_in_the_child_of_a_fork(server: Server) -> None:
    program = (
        "import os, sys, fuseboard\n"
        f"client = fuseboard.Client({server.address!r}, caller='fork/1')\n"
        "breaker = client.breaker('fork')\n"
        "pid = os.fork()\n"
        "assert client.ready(20)\n"
        "breaker.execute(int)\n"
        "if pid: sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    source = os.path.join(os.path.dirname(fuseboard.__file__), "..")
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": source}, timeout=50)
    assert done.returncode == 0


def test_clients_leave_no_thread_behind(server: Server) -> None:
    before = threading.active_count()
    for _ in range(5):
        with fuseboard.Client(server.address) as client:
            client.breaker("db")
            assert client.ready()
    assert threading.active_count() <= before + 1
