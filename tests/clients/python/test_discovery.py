"""What a client can find out with no files of ours: reflection, and health."""

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from harness import Fuseboard

VERSIONS = ["v1", "v1alpha"]


def reflect(server: Fuseboard, version: str, **question: str) -> reflection_pb2.ServerReflectionResponse:
    """Asks either version of reflection: their messages are the same on the wire."""
    ask = server.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    (answer,) = ask(iter([reflection_pb2.ServerReflectionRequest(**question)]), timeout=10)
    return answer


def describe(server: Fuseboard, version: str, symbol: str) -> FileDescriptorProto:
    """The file that defines a symbol."""
    answer = reflect(server, version, file_containing_symbol=symbol)
    assert answer.HasField("file_descriptor_response"), answer
    return FileDescriptorProto.FromString(answer.file_descriptor_response.file_descriptor_proto[0])


@pytest.mark.parametrize("version", VERSIONS)
def test_reflection_lists_every_service(server: Fuseboard, version: str) -> None:
    answer = reflect(server, version, list_services="")
    listed = {service.name for service in answer.list_services_response.service}
    assert listed >= {
        "fuseboard.v1.BreakerService",
        "fuseboard.v1.AdminService",
        "fuseboard.testing.v1.ClockService",
        "grpc.health.v1.Health",
        f"grpc.reflection.{version}.ServerReflection",
    }


def test_the_clock_is_not_listed_or_served_without_manual_clock() -> None:
    with Fuseboard() as server:
        answer = reflect(server, "v1", list_services="")
        assert "fuseboard.testing.v1.ClockService" not in {it.name for it in answer.list_services_response.service}
        advance = server.channel.unary_unary("/fuseboard.testing.v1.ClockService/Advance")
        with pytest.raises(grpc.RpcError) as caught:
            advance(b"", timeout=10)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("version", VERSIONS)
def test_reflection_describes_the_rpcs(server: Fuseboard, version: str) -> None:
    file = describe(server, version, "fuseboard.v1.BreakerService")
    assert {method.name for method in file.service[0].method} == {
        "Acquire",
        "Report",
        "ReportBatch",
        "Session",
        "Declare",
        "Reset",
        "GetState",
        "WatchEvents",
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["ErrorInfo", "BadRequest", "RetryInfo"])
def test_reflection_knows_the_types_of_the_error_details(server: Fuseboard, version: str, name: str) -> None:
    file = describe(server, version, f"google.rpc.{name}")
    assert name in {message.name for message in file.message_type}


@pytest.mark.parametrize("version", VERSIONS)
def test_reflection_says_so_when_a_symbol_is_unknown(server: Fuseboard, version: str) -> None:
    # Some servers say it in an answer and go on; ours ends the stream with it.
    with pytest.raises(grpc.RpcError) as caught:
        reflect(server, version, file_containing_symbol="fuseboard.v1.Nothing")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_health_of_the_whole_server_is_serving(server: Fuseboard) -> None:
    health = health_pb2_grpc.HealthStub(server.channel)
    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_server_without_a_verb_serves() -> None:
    with Fuseboard("--manual-clock", verb=None) as server:
        assert server.process.poll() is None
