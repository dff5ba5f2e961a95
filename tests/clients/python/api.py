"""The generated stubs under one roof, and the few steps that every story is told with."""

import queue
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import grpc
from fuseboard.testing.v1 import clock_service_pb2, clock_service_pb2_grpc
from fuseboard.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    breaker_pb2,
    breaker_service_pb2,
    breaker_service_pb2_grpc,
    event_pb2,
    policy_pb2,
)
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from harness import Fuseboard

admin = admin_service_pb2
breaker = breaker_pb2
event = event_pb2
policy = policy_pb2
service = breaker_service_pb2

# How long a single answer may take. The server's time stands still meanwhile.
ANSWER_S = 10.0


def seconds(amount: float) -> Duration:
    """A proto duration."""
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=amount))
    return duration


def in_seconds(duration: Duration) -> float:
    """A proto duration as a number."""
    return duration.ToTimedelta().total_seconds()


class Api:
    """All services of one server, with short forms of what the tests do most."""

    def __init__(self, server: Fuseboard) -> None:
        self.channel = server.channel
        self.breakers = breaker_service_pb2_grpc.BreakerServiceStub(server.channel)
        self.operator = admin_service_pb2_grpc.AdminServiceStub(server.channel)
        self.clock = clock_service_pb2_grpc.ClockServiceStub(server.channel)

    def acquire(self, key: str, **fields: Any) -> service.AcquireResponse:
        return self.breakers.Acquire(service.AcquireRequest(breaker=key, **fields), timeout=ANSWER_S)

    def permit(self, key: str, **fields: Any) -> str:
        answer = self.acquire(key, **fields)
        assert answer.decision == breaker.DECISION_PERMITTED, answer
        return answer.permit

    def report(self, key: str, permit: str, outcome: breaker.Outcome, **fields: Any) -> service.ReportResponse:
        request = service.ReportRequest(breaker=key, permit=permit, outcome=outcome, **fields)
        return self.breakers.Report(request, timeout=ANSWER_S)

    def call(self, key: str, outcome: breaker.Outcome, **fields: Any) -> service.ReportResponse:
        """One whole call: asked for, made, reported."""
        return self.report(key, self.permit(key), outcome, **fields)

    def call_as(self, caller: str, key: str, outcome: breaker.Outcome) -> service.ReportResponse:
        """The same, of a caller with a name."""
        return self.report(key, self.permit(key, caller=caller), outcome)

    def open(self, key: str) -> None:
        """Fails as often in a row as the default policy stands."""
        for _ in range(5):
            answer = self.call(key, breaker.OUTCOME_FAILURE)
        assert answer.state == breaker.STATE_OPEN, answer

    def state(self, key: str) -> service.GetStateResponse:
        return self.breakers.GetState(service.GetStateRequest(breaker=key), timeout=ANSWER_S)

    def advance(self, amount: float) -> None:
        self.clock.Advance(clock_service_pb2.AdvanceRequest(duration=seconds(amount)), timeout=ANSWER_S)

    def watch(self, **fields: Any) -> "Watch":
        return Watch(self.breakers.WatchEvents(service.WatchEventsRequest(**fields), timeout=30))

    def session(self) -> "Session":
        return Session(self.breakers)


class Watch:
    """An open watch. Every read is bounded by the stream's deadline."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.token = ""

    def message(self) -> service.WatchEventsResponse:
        """The next message, passing over those that only say "still here"."""
        for message in self.stream:
            assert message.resume_token
            self.token = message.resume_token
            if message.WhichOneof("message") != "progress":
                return message
        raise EOFError("the server ended the watch")

    def event(self) -> event.Event:
        message = self.message()
        assert message.WhichOneof("message") == "event", message
        return message.event

    def snapshot(self) -> dict[str, breaker.BreakerStatus]:
        """All parts of the snapshot that comes next."""
        breakers: dict[str, breaker.BreakerStatus] = {}
        while True:
            message = self.message()
            assert message.WhichOneof("message") == "snapshot", message
            breakers |= {status.breaker: status for status in message.snapshot.breakers}
            for gone in message.snapshot.deleted:
                breakers.pop(gone, None)
            if message.snapshot.complete:
                return breakers

    def close(self) -> None:
        self.stream.cancel()


class Session:
    """An open session: frames go in as they are sent, answers come out one frame at a time."""

    def __init__(self, stub: breaker_service_pb2_grpc.BreakerServiceStub) -> None:
        self._frames: queue.SimpleQueue[service.SessionRequest | None] = queue.SimpleQueue()
        self.stream = stub.Session(iter(self._frames.get, None), timeout=30)

    def send(self, **fields: Any) -> None:
        self._frames.put(service.SessionRequest(**fields))

    def ask(self, **fields: Any) -> service.SessionResponse:
        self.send(**fields)
        return next(self.stream)

    def close(self) -> None:
        """Says that no more frames follow; the server then ends its side."""
        self._frames.put(None)

    def __iter__(self) -> Iterator[service.SessionResponse]:
        return iter(self.stream)


DETAILS: tuple[type[Message], ...] = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.RetryInfo,
)


def details(error: grpc.RpcError) -> dict[str, Any]:
    """The rich details of an error, by the name of their type."""
    status = rpc_status.from_call(error)
    assert status is not None, f"no details in {error}"
    found: dict[str, Any] = {}
    for packed in status.details:
        for kind in DETAILS:
            if packed.Is(kind.DESCRIPTOR):
                unpacked = kind()
                packed.Unpack(unpacked)
                found[kind.DESCRIPTOR.name] = unpacked
    return found


def reason(error: grpc.RpcError) -> str:
    """The stable reason of an error of ours."""
    info = details(error)["ErrorInfo"]
    assert info.domain == "fuseboard"
    return info.reason


def field(error: grpc.RpcError) -> str:
    """The path of the field at fault."""
    (violation,) = details(error)["BadRequest"].field_violations
    assert violation.description
    return violation.field
