"""The built binary, started on a free loopback port, and stopped as an operator would stop it."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = Path(__file__).resolve().parents[3]

# The server starts in well under a second; a machine busy with compilers may take longer.
START_S = 20.0
# A drain that takes longer than this is a hang.
STOP_S = 20.0


LOCALHOST = "127.0.0.1"


def binary() -> Path:
    """The binary under test: FUSEBOARD_BIN, or this tree's release build."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return Path(os.environ.get("FUSEBOARD_BIN", target / "release" / "fuseboard")).resolve()


def free_port(host: str = LOCALHOST) -> int:
    """A loopback port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


class Fuseboard:
    """A running server, which keeps nothing unless it is given a directory.

    Leaving the `with` block stops it by SIGTERM and insists on exit code 0.
    """

    def __init__(
        self,
        *flags: str,
        host: str = LOCALHOST,
        port: int | None = None,
        http_port: int | None = None,
        verb: str | None = "serve",
    ) -> None:
        self.port = port or free_port(host)
        self.address = f"{host}:{self.port}"
        if not binary().is_file():
            raise FileNotFoundError(f"there is no server at {binary()}: `make release`, or FUSEBOARD_BIN=…")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the server)
        home = [] if "--data-dir" in flags else ["--ephemeral"]
        # Servers that run beside each other must not want one port.
        http = ["--http-address", f"127.0.0.1:{http_port}" if http_port else "off"]
        command = [str(binary()), *([verb] if verb else []), "--address", self.address, *http, *home, *flags]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            # What the developer's shell sets must not change what is tested.
            env={name: value for name, value in os.environ.items() if not name.startswith(("FUSEBOARD_", "RUST_LOG"))},
        )
        self.channel = grpc.insecure_channel(
            self.address,
            # A channel of its own: by default equal targets share one connection, and a restarted server's
            # clients would sit out the backoff of the one before. Nor is the first second of backoff sat out when the
            # first try comes before the server listens.
            options=[("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 100)],
        )
        try:
            self._wait_until_serving()
        except BaseException:
            self.kill()
            raise

    def _wait_until_serving(self) -> None:
        health = health_pb2_grpc.HealthStub(self.channel)
        deadline = time.monotonic() + START_S
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"fuseboard ended with {self.process.returncode} at its start:\n{self.log()}")
            try:
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=1, wait_for_ready=True)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            except grpc.RpcError as error:
                if error.code() not in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE):
                    raise
            if time.monotonic() > deadline:
                raise TimeoutError(f"fuseboard was not SERVING within {START_S} s:\n{self.log()}")

    def log(self) -> str:
        """What the server has printed so far."""
        self._log.flush()
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def terminate(self) -> None:
        """Asks it to drain."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """The exit code, once it has drained."""
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            log = self.log()
            self.kill()
            raise TimeoutError(f"fuseboard did not end within {STOP_S} s of SIGTERM:\n{log}") from None

    def kill(self) -> None:
        """Ends it the hard way."""
        self.channel.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self.process.poll() is None:
                self.channel.close()
                self.terminate()
                code = self.wait()
                assert code == 0, f"exit code {code} after SIGTERM:\n{self.log()}"
                assert "panicked" not in self.log(), self.log()
        finally:
            self.kill()
