"""Drives the real grpcurl, the way an operator does: no files, only reflection."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from harness import Fuseboard


class Grpcurl:
    """grpcurl against one server."""

    def __init__(self, address: str) -> None:
        found = shutil.which("grpcurl")
        assert found, "grpcurl is not on PATH; `make tools` installs it"
        self.program = found
        self.address = address

    def run(self, *arguments: str, data: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(*arguments, data=data),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def text(self, *arguments: str) -> str:
        """What it prints, when it succeeds."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def call(self, method: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer of a call that succeeds."""
        done = self.run(method, data=data or {})
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def error(self, method: str, data: dict[str, Any]) -> str:
        """What it prints about a call that fails."""
        done = self.run(method, data=data)
        assert done.returncode > 64, f"64 and the status code: {done}"
        return done.stderr

    def stream(self, method: str, data: dict[str, Any]) -> "Stream":
        return Stream(self._command(method, data=data))

    def _command(self, *arguments: str, data: dict[str, Any] | None = None) -> list[str]:
        body = [] if data is None else ["-d", json.dumps(data)]
        return [self.program, "-plaintext", "-max-time", "20", *body, self.address, *arguments]


class Stream:
    """A grpcurl that prints one message after the other."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Message after message. grpcurl's -max-time bounds the wait."""
        assert self.process.stdout
        lines: list[str] = []
        for line in self.process.stdout:
            lines.append(line)
            if line.rstrip() == "}":  # grpcurl indents everything inside a message
                yield json.loads("".join(lines))
                lines.clear()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def grpcurl(server: Fuseboard) -> Grpcurl:
    """grpcurl against the module's server."""
    return Grpcurl(server.address)
