"""The clients' drivers: which there are, and one of them as a running process."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import tempfile
from pathlib import Path
from typing import Any, Self

from harness.server import ROOT

# Every client that we ship: what is missing fails the run.
LANGUAGES = ("typescript", "python", "go", "rust", "java")

# From its start to its first answer: a virtual machine on a machine that is busy with compilers.
START_S = 60.0
# Over what a command is to take by itself; far beyond any that works.
ANSWER_S = 30.0
STOP_S = 10.0
# The longest line of an answer.
LINE_BYTES = 16 << 20


def known() -> dict[str, Path]:
    """The drivers to play with, by language: those of FUSEBOARD_DRIVERS (`go=/path/driver.sh,…`), else this tree's."""
    listed = os.environ.get("FUSEBOARD_DRIVERS")
    if listed:
        pairs = (entry.partition("=") for entry in listed.split(","))
        return {language: Path(path) for language, _, path in pairs}
    return {language: ROOT / "clients" / language / "driver.sh" for language in LANGUAGES}


class DriverError(Exception):
    """The driver said that a command was wrong, did not answer, or has ended."""


class Driver:
    """A driver's process. Many scenarios may use it at a time: answers are told apart by their id."""

    def __init__(self, process: asyncio.subprocess.Process, log: Any) -> None:
        self._process = process
        self._log = log
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, path: Path) -> Self:
        if not path.is_file():
            raise DriverError(f"there is no driver at {path}: build it, or leave it out of FUSEBOARD_DRIVERS")
        log = tempfile.TemporaryFile("a+b")  # noqa: SIM115 (lives as long as the driver)
        process = await asyncio.create_subprocess_exec(
            str(path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            limit=LINE_BYTES,
            # What the developer's shell sets must not change what is tested.
            env={name: value for name, value in os.environ.items() if not name.startswith("FUSEBOARD_")},
            # A group of its own, so that what the script starts ends with it.
            start_new_session=True,
        )
        driver = cls(process, log)
        try:
            # A command that every driver knows and that needs no server.
            await driver.ask({"do": "local", "policy": {}, "steps": []}, within_s=START_S)
        except BaseException:
            await driver.close()
            raise
        return driver

    async def ask(self, command: dict[str, Any], within_s: float = ANSWER_S) -> dict[str, Any]:
        """The `ok` of a command's answer."""
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        stdin = self._process.stdin
        assert stdin
        try:
            stdin.write(json.dumps({"id": number, **command}).encode() + b"\n")
            await stdin.drain()
            reply = await asyncio.wait_for(answer, within_s)
        except TimeoutError:
            raise DriverError(f"no answer within {within_s:g} s") from None
        except OSError as error:
            raise DriverError(f"the driver has ended ({error}):\n{self.log()}") from error
        finally:
            self._waiting.pop(number, None)
        if "error" in reply:
            raise DriverError(f"the driver says: {reply['error']}")
        return reply.get("ok") or {}

    @property
    def alive(self) -> bool:
        return not self._reader.done()

    async def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout
        problem = "the driver has ended"
        try:
            while line := await stdout.readline():
                reply = json.loads(line)
                waiting = self._waiting.get(reply["id"])
                if waiting and not waiting.done():
                    waiting.set_result(reply)
        except (ValueError, KeyError, TypeError) as error:
            problem = f"the driver's output is no answer ({error!r})"
        for waiting in list(self._waiting.values()):
            if not waiting.done():
                waiting.set_exception(DriverError(f"{problem}:\n{self.log()}"))

    def log(self) -> str:
        """The end of what it has said to people."""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 4000))
        return self._log.read().decode(errors="replace")

    async def close(self) -> int | None:
        """Ends its input, and what does not end by that. The exit code; None where it had to be killed."""
        code = None
        if self._process.stdin:
            self._process.stdin.close()
        try:
            code = await asyncio.wait_for(self._process.wait(), STOP_S)
        except TimeoutError:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._log.close()
        return code
