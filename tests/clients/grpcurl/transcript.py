"""Runs what our documents show, and compares.

Blocks fenced as ```console in README.md and docs/**/*.md are transcripts: each line that starts with `$ ` is a command
(`> ` lines and a trailing backslash carry it on), and what follows is what it prints. Every document gets a fresh
server on the default ports, and one shell that its commands share, so that a variable set by one serves the next.

    transcript.py [--write] [DOCUMENT…]

- A line `...` stands for any lines.
- What differs from run to run is not compared: permits, tokens, instants, time left (see `normalise`).
- A command whose shown output has no line beginning with `ERROR` or `error` must also exit with 0.
- `--write` puts what was printed into the document instead of complaining, except where it shows a `...`.
"""

import argparse
import difflib
import os
import re
import selectors
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness import Fuseboard, binary
from harness.server import ROOT

DEFAULT_PORT = 50051
DEFAULT_HTTP_PORT = 8080
# The longest that one command of a document may take.
COMMAND_S = 30.0
ANY_LINES = "..."


@dataclass
class Step:
    """A command of a document and what the document says it prints."""

    line: int
    command: str
    shown: list[str]
    # Where `shown` is in the document, for --write: first line and the one past the last, counted from 0.
    span: tuple[int, int] = (0, 0)


def steps(text: str) -> Iterator[Step]:
    """The steps of all console blocks of a document."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        fence = re.fullmatch(r"\s*(`{3,})console\s*", lines[at])
        at += 1
        if not fence:
            continue
        while not lines[at].strip().startswith(fence[1]):
            if not lines[at].startswith("$ "):
                raise ValueError(f"line {at + 1}: a console block begins with a command: `$ …`")
            start = at
            command = [lines[at].removeprefix("$ ")]
            at += 1
            while lines[at].startswith("> ") or command[-1].endswith("\\"):
                command.append(lines[at].removeprefix("> "))
                at += 1
            first = at
            while not lines[at].startswith("$ ") and not lines[at].strip().startswith(fence[1]):
                at += 1
            yield Step(start + 1, "\n".join(command), lines[first:at], (first, at))
        at += 1


VOLATILE = [
    # Made anew in every run.
    (re.compile(r'("(?:permit|resumeToken|oldestResumeToken|nextPageToken|history)": *)"[^"]+"'), r'\1"<opaque>"'),
    (re.compile(r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"'), '"<instant>"'),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<instant>"),
    # Depends on how fast the machine is.
    (re.compile(r'("(?:retryAfter|stateRemaining|uptime)": *)"[0-9.]+s"'), r'\1"<time>"'),
    (re.compile(r"(half-open in|come back after) \d+m?s"), r"\1 <time>"),
]


def normalise(line: str) -> str:
    """A line without what differs from run to run."""
    line = re.sub(r'^(\s*"[^"]+":) +', r"\1 ", line.rstrip())  # the JSON printer pads at random
    for pattern, replacement in VOLATILE:
        line = pattern.sub(replacement, line)
    return line


def matches(shown: list[str], printed: list[str]) -> bool:
    """Whether a document tells what was printed. `...` stands for any lines."""
    want = [line if line.strip() == ANY_LINES else normalise(line) for line in shown]
    have = [normalise(line) for line in printed]
    while want and not want[-1]:
        want.pop()
    while have and not have[-1]:
        have.pop()
    # reachable: how many lines of `have` the part of `want` so far may have taken.
    reachable = {0}
    for line in want:
        if line.strip() == ANY_LINES:
            reachable = set(range(min(reachable, default=len(have) + 1), len(have) + 1))
        else:
            reachable = {at + 1 for at in reachable if at < len(have) and have[at] == line}
    return len(have) in reachable


def expects_failure(shown: list[str]) -> bool:
    return any(re.match(r"\s*error", line, re.IGNORECASE) for line in shown)


class Shell:
    """A bash that runs one command after the other."""

    END = "<<end of command"

    def __init__(self, directory: Path) -> None:
        tools = ROOT / ".tools" / "bin"
        path = os.pathsep.join([str(tools), str(binary().parent), os.environ["PATH"]])
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=directory,
            env=os.environ | {"PATH": path, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._command = tempfile.NamedTemporaryFile("w", suffix=".sh")  # noqa: SIM115 (lives as long as the shell)

    def run(self, command: str) -> tuple[list[str], int]:
        """What a command prints, and its exit code."""
        self._command.seek(0)
        self._command.truncate()
        self._command.write(command + "\n")
        self._command.flush()
        assert self.process.stdin
        assert self.process.stdout
        source = f"source {shlex.quote(self._command.name)} </dev/null; printf '\\n%s %d>>\\n' '{self.END}' $?\n"
        self.process.stdin.write(source.encode())
        self.process.stdin.flush()
        printed = b""
        deadline = time.monotonic() + COMMAND_S
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not (end := re.search(rf"\n{self.END} (\d+)>>\n$".encode(), printed)):
                if not selector.select(deadline - time.monotonic()):
                    raise TimeoutError(f"still running after {COMMAND_S} s; it printed:\n{printed.decode()}")
                if not (more := os.read(self.process.stdout.fileno(), 65536)):
                    raise EOFError(f"the shell ended; it printed:\n{printed.decode()}")
                printed += more
        return printed[: end.start()].decode().splitlines(), int(end[1])

    def __enter__(self) -> "Shell":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self._command.close()


def check(document: Path, write: bool) -> tuple[int, int]:
    """Runs one document. How many of its steps passed, and how many failed."""
    text = document.read_text()
    script = list(steps(text))
    if not script:
        return 0, 0
    name = document.relative_to(ROOT) if document.is_relative_to(ROOT) else document
    passed = failed = 0
    lines = text.splitlines()
    changes: list[tuple[Step, list[str]]] = []
    with (
        tempfile.TemporaryDirectory() as data_dir,
        Fuseboard("--data-dir", data_dir, port=DEFAULT_PORT, http_port=DEFAULT_HTTP_PORT),
        Shell(ROOT) as shell,
    ):
        for step in script:
            printed, code = shell.run(step.command)
            agrees = matches(step.shown, printed)
            if agrees and (code == 0 or expects_failure(step.shown)):
                passed += 1
                continue
            if write and not agrees and not any(line.strip() == ANY_LINES for line in step.shown):
                changes.append((step, printed))
                passed += 1
                continue
            failed += 1
            print(f"{name}:{step.line}: $ {step.command}\nexit code {code}")
            if not agrees:
                print(*difflib.unified_diff(step.shown, printed, "shown", "printed", lineterm="", n=100), sep="\n")
    for step, printed in reversed(changes):
        lines[step.span[0] : step.span[1]] = printed
    if changes:
        document.write_text("\n".join(lines) + "\n")
        print(f"{name}: {len(changes)} outputs written")
    print(f"{name}: {passed} commands as shown, {failed} not")
    return passed, failed


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs what our documents show, and compares.")
    parser.add_argument("--write", action="store_true", help="put what was printed into the documents")
    parser.add_argument("documents", nargs="*", type=Path, help="default: README.md and docs/**/*.md")
    arguments = parser.parse_args()
    documents = arguments.documents or [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    results = [check(document.resolve(), arguments.write) for document in documents]
    passed, failed = (sum(counts) for counts in zip(*results, strict=True))
    if not passed + failed:
        print("no console block was found: nothing was tested")
        return 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
