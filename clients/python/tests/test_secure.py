"""TLS and tokens, against a server of this test that has both."""

import asyncio
import datetime
from ipaddress import ip_address

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fuseboard import Tls, aio
from fuseboard.v1 import breaker_service_pb2 as pb
from fuseboard.v1 import breaker_service_pb2_grpc


def certificate() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fuseboard test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return signed.public_bytes(serialization.Encoding.PEM), private


class Guarded(breaker_service_pb2_grpc.BreakerServiceServicer):
    """Answers GetState for who has the token."""

    async def GetState(self, request: pb.GetStateRequest, context: grpc.aio.ServicerContext) -> pb.GetStateResponse:  # noqa: N802
        if ("authorization", "Bearer secret") not in (context.invocation_metadata() or ()):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")
        answer = pb.GetStateResponse()
        answer.status.breaker = request.breaker
        return answer


def test_a_client_speaks_tls_and_shows_its_token() -> None:
    async def story() -> None:
        public, private = certificate()
        server = grpc.aio.server()
        breaker_service_pb2_grpc.add_BreakerServiceServicer_to_server(Guarded(), server)  # type: ignore[no-untyped-call]
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(private, public)]))
        await server.start()
        async with aio.Client(f"https://127.0.0.1:{port}", tls=Tls(roots=public), token="secret") as client:
            assert (await client.breaker("db").state()).status.breaker == "db"
        await server.stop(None)

    asyncio.run(story())
