"""The operator's part, with grpcurl alone."""

from typing import Any

import pytest

from harness import Fuseboard

BREAKERS = "fuseboard.v1.BreakerService"
ADMIN = "fuseboard.v1.AdminService"
CLOCK = "fuseboard.testing.v1.ClockService"


def fail(grpcurl: Any, key: str, times: int = 5) -> dict[str, Any]:
    """Calls that fail, and the answer to the last report."""
    for _ in range(times):
        permit = grpcurl.call(f"{BREAKERS}/Acquire", {"breaker": key})["permit"]
        answer = grpcurl.call(f"{BREAKERS}/Report", {"breaker": key, "permit": permit, "outcome": "OUTCOME_FAILURE"})
    return answer


def test_list_shows_the_services(grpcurl: Any) -> None:
    assert {BREAKERS, ADMIN, CLOCK, "grpc.health.v1.Health"} <= set(grpcurl.text("list").split())
    assert f"{ADMIN}.SetOverride" in grpcurl.text("list", ADMIN).split()


def test_describe_shows_services_methods_and_messages(grpcurl: Any) -> None:
    assert "rpc WatchEvents" in grpcurl.text("describe", BREAKERS)
    assert "returns ( .fuseboard.v1.AcquireResponse )" in grpcurl.text("describe", f"{BREAKERS}.Acquire")
    message = grpcurl.text("describe", "fuseboard.v1.AcquireRequest")
    for field in ("string breaker = 1", "string caller = 2", "string request_id = 3", "lease = 4"):
        assert field in message
    assert "string reason = 1" in grpcurl.text("describe", "google.rpc.ErrorInfo")


def test_health_is_serving(grpcurl: Any) -> None:
    assert grpcurl.call("grpc.health.v1.Health/Check") == {"status": "SERVING"}


def test_one_call_is_complete_on_a_fresh_server(grpcurl: Any) -> None:
    answer = grpcurl.call(f"{BREAKERS}/Acquire", {"breaker": "payments"})
    assert answer.pop("permit")
    assert int(answer.pop("generation")) >= 1
    assert answer == {"decision": "DECISION_PERMITTED", "state": "STATE_CLOSED", "lease": "60s"}


def test_five_failures_open_it_and_the_rejection_says_why_and_until_when(grpcurl: Any, key: str) -> None:
    assert fail(grpcurl, key)["state"] == "STATE_OPEN"
    answer = grpcurl.call(f"{BREAKERS}/Acquire", {"breaker": key})
    assert answer["decision"] == "DECISION_REJECTED"
    assert answer["reason"] == "REJECTION_REASON_OPEN"
    assert answer["retryAfter"] == "30s"
    assert "permit" not in answer


def test_a_watch_prints_open_half_open_and_closed_as_they_happen(grpcurl: Any, key: str) -> None:
    request = {"filter": {"breakers": [key]}}
    with grpcurl.stream(f"{BREAKERS}/WatchEvents", request) as watch:
        messages = (message for message in watch if "progress" not in message)
        assert next(messages)["snapshot"] == {"complete": True}
        fail(grpcurl, key)
        assert next(messages)["event"]["kind"] == "EVENT_KIND_OPENED"
        grpcurl.call(f"{CLOCK}/Advance", {"duration": "30s"})
        assert next(messages)["event"]["kind"] == "EVENT_KIND_HALF_OPENED"
        permit = grpcurl.call(f"{BREAKERS}/Acquire", {"breaker": key})["permit"]
        grpcurl.call(f"{BREAKERS}/Report", {"breaker": key, "permit": permit, "outcome": "OUTCOME_SUCCESS"})
        closed = next(messages)
        assert closed["event"]["kind"] == "EVENT_KIND_CLOSED"
        assert closed["event"]["reason"] == "EVENT_REASON_PROBES_SUCCEEDED"
    again = {"filter": {"breakers": [key]}, "resume_token": closed["resumeToken"]}
    with grpcurl.stream(f"{BREAKERS}/WatchEvents", again) as watch:
        messages = (message for message in watch if "progress" not in message)
        grpcurl.call(f"{BREAKERS}/Reset", {"breaker": key})
        assert next(messages)["event"]["kind"] == "EVENT_KIND_RESET"


def test_reset_closes_an_open_breaker_and_the_history_says_who_did_it(grpcurl: Any, key: str) -> None:
    fail(grpcurl, key)
    answer = grpcurl.call(f"{BREAKERS}/Reset", {"breaker": key, "actor": "ana", "reason": "fixed"})
    assert answer["status"]["state"] == "STATE_CLOSED"
    events = grpcurl.call(f"{ADMIN}/ListEvents", {"breaker": key})["events"]
    assert [it["kind"] for it in events] == ["EVENT_KIND_OPENED", "EVENT_KIND_RESET"]
    assert (events[1]["actor"], events[1]["comment"]) == ("ana", "fixed")


def test_an_override_holds_the_breaker_until_it_is_cleared(grpcurl: Any, key: str) -> None:
    grpcurl.call(
        f"{ADMIN}/SetOverride",
        {"breaker": key, "mode": "OVERRIDE_MODE_FORCED_OPEN", "actor": "ana", "reason": "migration"},
    )
    answer = grpcurl.call(f"{BREAKERS}/Acquire", {"breaker": key})
    assert answer["reason"] == "REJECTION_REASON_FORCED_OPEN"
    held = grpcurl.call(f"{ADMIN}/ListBreakers", {"overridden": True, "prefix": key})["breakers"]
    assert [it["breaker"] for it in held] == [key]
    grpcurl.call(f"{ADMIN}/ClearOverride", {"breaker": key, "actor": "ana"})
    assert grpcurl.call(f"{BREAKERS}/Acquire", {"breaker": key})["decision"] == "DECISION_PERMITTED"


def test_get_state_tells_where_a_breaker_stands(grpcurl: Any, key: str) -> None:
    fail(grpcurl, key, times=3)
    state = grpcurl.call(f"{BREAKERS}/GetState", {"breaker": key})
    assert state["status"]["state"] == "STATE_CLOSED"
    assert state["status"]["failures"] == "3"
    assert state["window"]["failures"] == "3"
    assert state["policy"]["policy"]["failureThreshold"] == 5
    assert state["policy"]["sources"] == ["default"]


def test_a_policy_is_set_read_and_deleted(grpcurl: Any, key: str) -> None:
    grpcurl.call(f"{ADMIN}/SetPolicy", {"pattern": f"{key}/*", "policy": {"failure_threshold": 1}, "actor": "ana"})
    entry = grpcurl.call(f"{ADMIN}/GetPolicy", {"pattern": f"{key}/*"})["entry"]
    assert entry["policy"] == {"failureThreshold": 1}
    assert fail(grpcurl, f"{key}/a", times=1)["state"] == "STATE_OPEN"
    grpcurl.call(f"{ADMIN}/DeletePolicy", {"pattern": f"{key}/*", "actor": "ana"})
    assert "Code: NotFound" in grpcurl.error(f"{ADMIN}/GetPolicy", {"pattern": f"{key}/*"})


def test_a_bad_key_is_refused_with_the_field_at_fault(grpcurl: Any) -> None:
    printed = grpcurl.error(f"{BREAKERS}/Acquire", {"breaker": "not a key"})
    assert "Code: InvalidArgument" in printed
    for part in ("google.rpc.ErrorInfo", '"fuseboard"', "google.rpc.BadRequest", '"field"', '"breaker"'):
        assert part in printed.replace('"field": ', '"field" '), printed


def test_an_unknown_breaker_is_not_found(grpcurl: Any, key: str) -> None:
    printed = grpcurl.error(f"{BREAKERS}/GetState", {"breaker": key})
    assert "Code: NotFound" in printed
    assert "BREAKER_NOT_FOUND" in printed


def test_an_oversized_message_is_refused(grpcurl: Any, key: str) -> None:
    printed = grpcurl.error(f"{BREAKERS}/Acquire", {"breaker": key, "request_id": "x" * 70_000})
    assert "Code: ResourceExhausted" in printed


def test_the_server_tells_about_itself(grpcurl: Any) -> None:
    info = grpcurl.call(f"{ADMIN}/GetServerInfo")
    assert info["store"] == "memory"
    assert info["storeHealthy"] is True
    assert {"name", "max"} <= set(info["limits"][0])


@pytest.mark.parametrize("flags", [(), ("--manual-clock",)], ids=["real clock", "manual clock"])
def test_a_watch_prints_a_goodbye_and_ends_well_when_the_server_drains(grpcurl: Any, flags: tuple[str, ...]) -> None:
    with Fuseboard(*flags) as server:
        there = type(grpcurl)(server.address)
        with there.stream(f"{BREAKERS}/WatchEvents", {}) as watch:
            messages = iter(watch)
            assert "snapshot" in next(messages)
            server.terminate()
            assert next(messages)["goodbye"]["reason"] == "GOODBYE_REASON_DRAINING"
            assert list(messages) == []
            assert watch.process.wait(10) == 0
        assert server.wait() == 0
