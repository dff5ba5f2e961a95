"""A Fuseboard server for each test module, and clients of it."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import fuseboard
from fuseboard.testing import ManualClock

START_S = 20.0


class Server:
    """The built binary on a loopback port, keeping nothing; ended hard."""

    def __init__(self, *flags: str) -> None:
        binary = os.environ.get("FUSEBOARD_BIN", "")
        if not Path(binary).is_file():
            raise RuntimeError("FUSEBOARD_BIN names no server: build one with `cargo build --release` and set it")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._command = [binary, "serve", "--ephemeral", "--address", self.address, "--http-address", "off", *flags]
        self.start()

    def start(self) -> None:
        """Starts it and waits until it accepts connections."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("FUSEBOARD_")}
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL, env=own)
        host, _, port = self.address.rpartition(":")
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection((host, int(port)), 1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the server has not started") from None
                time.sleep(0.01)

    def kill(self) -> None:
        """Ends it."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server whose time stands still."""
    running = Server("--manual-clock")
    yield running
    running.kill()


@pytest.fixture
def clock(server: Server) -> Iterator[ManualClock]:
    """The server's time."""
    with ManualClock(server.address) as manual:
        yield manual


@pytest.fixture
def client(server: Server) -> Iterator[fuseboard.Client]:
    """A client of it."""
    with fuseboard.Client(server.address, caller="test/1", acquire_timeout=2, report_timeout=2) as connected:
        yield connected


def until(holds: object, within: float = 15.0) -> None:
    """Waits until a condition holds."""
    assert callable(holds)
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(0.005)
