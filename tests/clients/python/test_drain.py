"""SIGTERM: streams are told goodbye, and the process ends well."""

import subprocess

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from api import Api, service
from harness import Fuseboard, binary


@pytest.mark.parametrize("flags", [(), ("--manual-clock",)], ids=["real clock", "manual clock"])
def test_a_drain_says_goodbye_on_every_stream_and_exits_with_0(flags: tuple[str, ...]) -> None:
    with Fuseboard(*flags) as server:
        api = Api(server)
        watch = api.watch()
        watch.snapshot()
        session = api.session()
        session.ask(acquires=[service.SessionAcquire(number=1, breaker="payments")])
        health = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
        assert next(health).status == health_pb2.HealthCheckResponse.SERVING

        server.terminate()

        assert next(health).status == health_pb2.HealthCheckResponse.NOT_SERVING
        message = watch.message()
        assert message.goodbye.reason == service.GOODBYE_REASON_DRAINING
        assert message.goodbye.HasField("retry_after")
        assert list(watch.stream) == [], "the stream ends with OK"
        frame = next(session.stream)
        assert frame.goodbye.reason == service.GOODBYE_REASON_DRAINING
        assert list(session) == []
        assert server.wait() == 0, server.log()


def test_a_call_in_flight_at_a_drain_is_still_answered() -> None:
    with Fuseboard() as server:
        api = Api(server)
        pending = [
            api.breakers.Acquire.future(service.AcquireRequest(breaker="payments"), timeout=10) for _ in range(50)
        ]
        pending[0].result()
        server.terminate()
        codes = [future.code() for future in pending]
        assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
        assert grpc.StatusCode.OK in codes
        assert server.wait() == 0


def test_a_second_server_on_the_same_port_says_so_and_fails() -> None:
    with Fuseboard() as server:
        command = [binary(), "serve", "--ephemeral", "--address", server.address, "--http-address", "off"]
        second = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=10, check=False)
        assert second.returncode == 1
        assert "in use" in second.stderr
