"""The scenario files, read and checked: what is not understood is an error, never passed over."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.server import ROOT

FOLDER = ROOT / "clients" / "conformance"

Step = dict[str, Any]

# The fields of each command of a driver; those that it cannot go without are marked with `!`.
DRIVER_COMMANDS = {
    "client": "client options manual_time",
    "breaker": "client breaker options",
    "ready": "client timeout_ms!",
    "advance": "client ms!",
    "acquire": "client breaker permit",
    "report": "permit! outcome! duration_ms error_class retry_after_ms origin wait",
    "forget": "permit!",
    "execute": "client breaker call! times fallback ignore retry_after_ms",
    "view": "client breaker",
    "state": "client breaker",
    "reset": "client breaker reason",
    "events": "client",
    "stats": "client",
    "local": "policy! steps!",
    "close": "client",
}
RUNNER_COMMANDS = {
    "server.start": "",
    "server.kill": "",
    "server.stop": "",
    "server.advance": "ms!",
    "server.acquire": "breaker permit caller",
    "server.report": "breaker permit outcome!",
    "server.trip": "breaker caller",
    "server.reset": "breaker",
    "server.delete": "breaker",
    "server.override": "breaker mode! expire_after_ms",
    "server.policy": "breaker policy!",
    "server.state": "breaker",
    "wire": "mode delay_ms",
    "wire.sent": "",
    "account": "client breaker calls!",
    "await": "id!",
}
COMMANDS = DRIVER_COMMANDS | RUNNER_COMMANDS
# What any step may say of itself.
OF_STEPS = {"do", "expect", "only", "id", "background"}
SERVERS = {"manual", "real", "durable"}


@dataclass(frozen=True)
class Scenario:
    """One timeline. Its name is the claim that it makes."""

    topic: str
    name: str
    server: str
    steps: tuple[Step, ...]

    @property
    def id(self) -> str:
        return f"{self.topic}: {self.name}"


class BadFileError(Exception):
    """A scenario file that cannot be played as it stands."""


@cache
def load() -> tuple[Scenario, ...]:
    """All scenarios, in the order of the files."""
    found = [scenario for path in sorted(FOLDER.glob("*.json")) for scenario in read(path)]
    names = [scenario.id for scenario in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise BadFileError(f"more than one scenario is called {sorted(twice)}")
    return tuple(found)


def read(path: Path) -> list[Scenario]:
    """The scenarios of one file, each with the steps that all of the file begin with."""
    content = json.loads(path.read_text())
    _only(content, {"topic", "before", "scenarios"}, path.name)
    if content["topic"] != path.stem:
        raise BadFileError(f"{path.name}: the topic is {content['topic']!r}")
    before = content.get("before", [])
    scenarios = []
    for entry in content["scenarios"]:
        where = f"{path.name}: {entry.get('name')!r}"
        _only(entry, {"name", "server", "before", "steps"}, where)
        server = entry.get("server", "manual")
        if server not in SERVERS:
            raise BadFileError(f"{where}: there is no server {server!r}")
        steps = [*entry.get("before", before), *entry["steps"]]
        for at, step in enumerate(steps):
            _check(step, f"{where}, step {at + 1}")
        if not any("expect" in json.dumps(step) for step in steps):
            raise BadFileError(f"{where}: expects nothing")
        scenarios.append(Scenario(path.stem, entry["name"], server, tuple(steps)))
    return scenarios


def _check(step: Step, where: str) -> None:
    if "sleep_ms" in step:
        return _only(step, {"sleep_ms"}, where)
    if "until" in step:
        _only(step, {"until", "within_ms"}, where)
        repeated = step["until"] if isinstance(step["until"], list) else [step["until"]]
        for inner in repeated:
            _check(inner, where)
        if "expect" not in repeated[-1]:
            raise BadFileError(f"{where}: until what?")
        return None
    verb = step.get("do")
    if verb not in COMMANDS:
        raise BadFileError(f"{where}: there is no command {verb!r}")
    fields = COMMANDS[verb].split()
    _only(step, OF_STEPS | {field.rstrip("!") for field in fields}, where)
    if missing := {field.rstrip("!") for field in fields if field.endswith("!")} - set(step):
        raise BadFileError(f"{where}: {verb} without {sorted(missing)}")
    return None


def _only(given: Step, known: set[str], where: str) -> None:
    if unknown := set(given) - known:
        raise BadFileError(f"{where}: unknown {sorted(unknown)}")
