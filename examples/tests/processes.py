"""The real things that the tests start, kill and start again: all on loopback, all gone in the end."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

START_S = 30.0
EXAMPLES = Path(__file__).parents[1]
CLIENTS = EXAMPLES.parent / "clients"


def until(holds: Callable[[], object], what: str, within: float = 20.0) -> None:
    """Waits until a condition holds. One that cannot be looked at yet does not hold."""
    deadline = time.monotonic() + within
    while True:
        try:
            if holds():
                return
        except (OSError, httpx.TransportError):
            pass
        assert time.monotonic() < deadline, f"within {within} s it did not come to hold: {what}"
        time.sleep(0.03)


def free_port() -> int:
    """A loopback port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def found(program: str, package: str, *folders: Path) -> str:
    """The program's path, on the PATH or in the folders."""
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")])
    at = shutil.which(program, path=path)
    if at is None:
        raise RuntimeError(f"{program} is missing: install it (`apt-get install {package}`)")
    return at


class Process:
    """A program with its own port and log."""

    #: How it is ended the hard way.
    end = signal.SIGKILL

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, command: list[str], ready: Callable[[], object], **options: object) -> None:
        """Starts it and waits until it is ready."""
        process = self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            **options,  # type: ignore[call-overload]
        )

        def is_ready() -> object:
            if process.poll() is not None:
                raise RuntimeError(f"{self.name} ended at its start:\n{self.log()}")
            return ready()

        until(is_ready, f"{self.name} is ready", START_S)

    def kill(self) -> None:
        """Ends it and waits until it is gone."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(self.end)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def log(self) -> str:
        """What it has printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def accepts(self) -> bool:
        """Somebody listens on its port."""
        socket.create_connection(("127.0.0.1", self.port), 1).close()
        return True


class Postgres(Process):
    """PostgreSQL with the example's schema. It refuses to be root, so root starts it as nobody."""

    end = signal.SIGQUIT

    def __init__(self) -> None:
        super().__init__("postgres")
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        self._bin = {name: found(name, "postgresql", *folders) for name in ("initdb", "postgres", "pg_isready", "psql")}
        self._home = tempfile.mkdtemp(prefix="fuseboard-postgres-")
        self._as = {"user": "nobody", "cwd": "/"} if os.geteuid() == 0 else {}
        if self._as:
            shutil.chown(self._home, "nobody")
        command = [self._bin["initdb"], "--pgdata", self._home, "--username", "shop", "--auth", "trust", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, timeout=START_S, **self._as)  # type: ignore[call-overload]
        self.url = f"postgres://shop@127.0.0.1:{self.port}/postgres"
        self.start()
        load = [self._bin["psql"], self.url, "--quiet", "--file", str(EXAMPLES / "schema.sql")]
        subprocess.run(load, check=True, timeout=START_S)

    def start(self) -> None:
        """Starts it, also after a kill."""
        options = [f"-cport={self.port}", "-clisten_addresses=127.0.0.1", "-cunix_socket_directories=", "-cfsync=off"]
        probe = [self._bin["pg_isready"], "--quiet", "--dbname", self.url]
        self.run(
            [self._bin["postgres"], "-D", self._home, *options],
            lambda: subprocess.run(probe, check=False, timeout=START_S).returncode == 0,
            **self._as,
        )

    def remove(self) -> None:
        """Ends it for good."""
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)


class Redis(Process):
    """Redis, keeping nothing."""

    def __init__(self) -> None:
        super().__init__("redis")
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._program = found("redis-server", "redis-server")
        self.start()

    def start(self) -> None:
        """Starts it empty."""
        port = ["--port", str(self.port), "--bind", "127.0.0.1"]
        self.run([self._program, *port, "--save", "", "--appendonly", "no", "--dir", "/tmp"], self.accepts)


class Fuseboard(Process):
    """The breakers' server, with a data directory so that a restart keeps them."""

    def __init__(self) -> None:
        super().__init__("fuseboard")
        self._program = os.environ.get("FUSEBOARD_BIN", "")
        if not Path(self._program).is_file():
            raise RuntimeError("FUSEBOARD_BIN names no server: build one with `cargo build --release` and set it")
        self._home = tempfile.mkdtemp(prefix="fuseboard-example-")
        self.address = f"127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Starts it, also after a kill."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("FUSEBOARD_")}
        command = [self._program, "serve", "--data-dir", self._home, "--address", self.address, "--http-address", "off"]
        self.run(command, self.accepts, env=env)

    def remove(self) -> None:
        """Ends it for good."""
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)


class Shop(Process):
    """One replica of an app."""

    end = signal.SIGTERM

    def __init__(self, language: str, number: int, environment: dict[str, str]) -> None:
        super().__init__(f"{language} {number}")
        folder = EXAMPLES / language
        here = {name: value for name, value in os.environ.items() if not name.startswith("FUSEBOARD_")}
        environment = {**here, **environment, "FUSEBOARD_CALLER": f"shop/{number}", "PORT": str(self.port)}
        commands = {
            "python": [".venv/bin/uvicorn", "shop.main:app", "--port", str(self.port), "--no-access-log"],
            "typescript": ["node", "dist/main.js"],
        }
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10)
        self.websocket = f"ws://127.0.0.1:{self.port}/prices"
        self.run(commands[language], lambda: self.http.get("/health"), env=environment, cwd=folder)

    def get(self, path: str) -> httpx.Response:
        """A GET."""
        return self.http.get(path)

    def breaker(self, name: str) -> dict[str, object]:
        """One breaker of /health."""
        return next(each for each in self.get("/health").json()["breakers"] if each["name"] == name)

    def metric(self, name: str) -> float:
        """One sample of /metrics, named with its labels. 0: there is none."""
        for line in self.get("/metrics").text.splitlines():
            sample, _, value = line.rpartition(" ")
            if sample == name:
                return float(value)
        return 0.0
