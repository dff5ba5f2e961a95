"""What a client is told when it asks for something that cannot be."""

from collections.abc import Callable

import grpc
import pytest
from google.protobuf.message import Message

from api import Api, admin, breaker, details, event, field, reason, seconds, service

BAD_KEYS = {
    "empty": "",
    "a space": "a b",
    "a newline": "payments\n",
    "a letter beyond ASCII": "zahlungen/gebühr",
    "a star": "payments/*",
    "201 bytes": "k" * 201,
}


def refused(call: Callable[..., Message], request: Message) -> grpc.RpcError:
    """The error that a call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=10)
    return caught.value


@pytest.mark.parametrize("bad", BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_a_bad_key_is_an_invalid_argument_that_names_its_field(api: Api, bad: str) -> None:
    permit = api.permit("good")
    for call, request in [
        (api.breakers.Acquire, service.AcquireRequest(breaker=bad)),
        (api.breakers.Report, service.ReportRequest(breaker=bad, permit=permit, outcome=breaker.OUTCOME_SUCCESS)),
        (api.breakers.Reset, service.ResetRequest(breaker=bad)),
        (api.breakers.GetState, service.GetStateRequest(breaker=bad)),
        (
            api.operator.SetOverride,
            admin.SetOverrideRequest(breaker=bad, mode=breaker.OVERRIDE_MODE_SHADOW, actor="ana", reason="to see"),
        ),
        (api.operator.DeleteBreaker, admin.DeleteBreakerRequest(breaker=bad)),
    ]:
        error = refused(call, request)
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert field(error) == "breaker"
        assert reason(error)
        assert error.details()


def test_a_key_of_200_bytes_of_the_whole_alphabet_is_good(api: Api) -> None:
    assert api.acquire("Az09._-:/" * 22 + "ok").decision == breaker.DECISION_PERMITTED


def test_a_bad_field_deep_inside_is_named_by_its_path(api: Api, key: str) -> None:
    request = service.DeclareRequest(
        declarations=[
            service.Declaration(breaker=key),
            service.Declaration(breaker=f"{key}/2", policy={"failure_rate_threshold": 1.5}),
        ]
    )
    error = refused(api.breakers.Declare, request)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert field(error) == "declarations[1].policy.failure_rate_threshold"
    unknown = refused(api.breakers.GetState, service.GetStateRequest(breaker=key))
    assert unknown.code() == grpc.StatusCode.NOT_FOUND, "one bad declaration, and none is taken"


def test_an_unknown_breaker_is_not_found(api: Api, key: str) -> None:
    for call, request in [
        (api.breakers.GetState, service.GetStateRequest(breaker=key)),
        (api.breakers.Reset, service.ResetRequest(breaker=key)),
        (api.operator.ClearOverride, admin.ClearOverrideRequest(breaker=key)),
        (api.operator.DeleteBreaker, admin.DeleteBreakerRequest(breaker=key)),
    ]:
        error = refused(call, request)
        assert error.code() == grpc.StatusCode.NOT_FOUND
        assert reason(error) == "BREAKER_NOT_FOUND"


def test_a_forged_or_borrowed_permit_is_an_invalid_argument(api: Api, key: str) -> None:
    good = api.permit(key)
    other = api.permit(f"{key}/other")
    flipped = good[:-1] + ("A" if good[-1] != "A" else "B")
    for bad in ["", "nonsense", good + good, flipped, other]:
        request = service.ReportRequest(breaker=key, permit=bad, outcome=breaker.OUTCOME_FAILURE)
        error = refused(api.breakers.Report, request)
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, bad
        assert field(error) == "permit"
    assert api.state(key).totals.failures == 0


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"outcome": breaker.OUTCOME_UNSPECIFIED}, "outcome"),
        ({"outcome": 77}, "outcome"),
        ({"duration": seconds(-1)}, "duration"),
        ({"duration": seconds(25 * 3600)}, "duration"),
        ({"error_class": "x" * 65}, "error_class"),
        ({"error_class": "bad\nclass"}, "error_class"),
        ({"retry_after": seconds(-1)}, "retry_after"),
        ({"origin": 77}, "origin"),
    ],
)
def test_a_bad_field_of_a_report_is_named(api: Api, key: str, fields: dict, path: str) -> None:
    request = {"breaker": key, "permit": api.permit(key), "outcome": breaker.OUTCOME_FAILURE} | fields
    error = refused(api.breakers.Report, service.ReportRequest(**request))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert field(error) == path
    assert api.state(key).totals.failures == 0


def test_an_override_needs_somebody_and_a_reason(api: Api, key: str) -> None:
    whole = {"breaker": key, "mode": breaker.OVERRIDE_MODE_FORCED_OPEN, "actor": "ana", "reason": "migration"}
    for missing in ["mode", "actor", "reason"]:
        request = admin.SetOverrideRequest(**{name: it for name, it in whole.items() if name != missing})
        error = refused(api.operator.SetOverride, request)
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert field(error) == missing


@pytest.mark.parametrize("token", ["nonsense", "x" * 201])
def test_a_watch_with_a_token_that_is_none_is_an_invalid_argument(api: Api, token: str) -> None:
    watch = api.watch(resume_token=token)
    with pytest.raises(grpc.RpcError) as caught:
        watch.message()
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert field(caught.value) == "resume_token"


def test_a_watch_with_a_bad_filter_is_an_invalid_argument(api: Api) -> None:
    watch = api.watch(filter=service.WatchFilter(kinds=[event.EVENT_KIND_UNSPECIFIED]))
    with pytest.raises(grpc.RpcError) as caught:
        watch.message()
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert field(caught.value) == "filter.kinds[0]"


def test_a_message_above_the_limit_is_refused_and_the_connection_goes_on(api: Api, key: str) -> None:
    error = refused(api.breakers.Acquire, service.AcquireRequest(breaker=key, request_id="x" * 70_000))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert api.acquire(key).decision == breaker.DECISION_PERMITTED


def test_a_key_that_is_not_utf8_is_refused(api: Api, key: str) -> None:
    raw = b"\x0a\x02\xc3\x28"
    acquire = api.channel.unary_unary("/fuseboard.v1.BreakerService/Acquire")
    with pytest.raises(grpc.RpcError) as caught:
        acquire(raw, timeout=10)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert field(caught.value) == "breaker"
    assert api.acquire(key).decision == breaker.DECISION_PERMITTED


def test_an_unknown_method_is_unimplemented(api: Api) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        api.channel.unary_unary("/fuseboard.v1.BreakerService/Nothing")(b"", timeout=10)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_version_that_moved_aborts_and_says_so(api: Api, key: str) -> None:
    first = api.operator.SetPolicy(
        admin.SetPolicyRequest(pattern=key, policy={"failure_threshold": 3}, expected_version=0, actor="ana"),
        timeout=10,
    )
    stale = admin.SetPolicyRequest(pattern=key, policy={"failure_threshold": 4}, expected_version=0, actor="bo")
    error = refused(api.operator.SetPolicy, stale)
    assert error.code() == grpc.StatusCode.ABORTED
    assert reason(error) == "VERSION_MOVED"
    assert "ErrorInfo" in details(error)
    entry = api.operator.GetPolicy(admin.GetPolicyRequest(pattern=key), timeout=10).entry
    assert entry == first.entry
