"""Plays a timeline: one step after the other, each answer compared with what is expected of it."""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

import grpc

from conformance.drivers import Driver, DriverError
from conformance.expect import mismatches
from conformance.scenarios import DRIVER_COMMANDS, OF_STEPS, Scenario, Step
from conformance.world import World

# The bound of a whole scenario. The longest sleeps a few seconds.
SCENARIO_S = 60.0
# What `until` waits at most where it does not say.
UNTIL_MS = 15_000
POLL_S = 0.02
# What every client is given that says nothing else: a busy machine must not change what is decided. Scenarios about
# waiting set their own.
PATIENT = {"acquire_timeout_ms": 5_000, "report_timeout_ms": 5_000}
CLIENT, BREAKER = "a", "db"
# Names that a driver's process holds for all scenarios that it plays.
NAMES = ("client", "permit")


@dataclass(frozen=True)
class Played:
    """How a scenario went. `problem` is empty where it passed."""

    problem: str
    seconds: float


class StepError(Exception):
    """A step that did not go as expected."""


async def play(scenario: Scenario, driver: Driver, prefix: str) -> Played:
    """Plays a scenario in a world of its own. `prefix` makes its names its own in the driver."""
    started = time.monotonic()
    problem = ""
    try:
        async with asyncio.timeout(SCENARIO_S), World(scenario.server) as world:
            await Player(world, driver, prefix).play(scenario.steps)
    except StepError as error:
        problem = str(error)
    except TimeoutError:
        problem = f"it took longer than {SCENARIO_S:g} s"
    except (RuntimeError, OSError) as error:
        problem = f"the server: {error}"
    return Played(problem, time.monotonic() - started)


class Player:
    """One scenario's progress."""

    def __init__(self, world: World, driver: Driver, prefix: str) -> None:
        self._world = world
        self._driver = driver
        self._prefix = prefix
        self._clients: list[str] = []
        self._background: dict[str, asyncio.Task[dict[str, Any]]] = {}

    async def play(self, steps: tuple[Step, ...]) -> None:
        try:
            for at, step in enumerate(steps):
                try:
                    await self._step(step)
                except StepError as error:
                    raise StepError(f"step {at + 1} of {len(steps)}, {json.dumps(step)}:\n  {error}") from None
        finally:
            for task in self._background.values():
                task.cancel()
            await asyncio.gather(*self._background.values(), return_exceptions=True)
            closes = [self._driver.ask({"do": "close", "client": name}) for name in self._clients]
            await asyncio.gather(*closes, return_exceptions=True)

    async def _step(self, step: Step) -> None:
        if "sleep_ms" in step:
            await asyncio.sleep(step["sleep_ms"] / 1000)
        elif "until" in step:
            await self._until(step)
        elif step.get("background"):
            self._background[step["id"]] = asyncio.create_task(self._answer(step))
        else:
            compare(step, await self._answer(step))

    async def _until(self, step: Step) -> None:
        """Repeats its steps until the last one's expectation holds; what the others expect has to hold each time."""
        within_ms = step.get("within_ms", UNTIL_MS)
        deadline = time.monotonic() + within_ms / 1000
        *first, last = step["until"] if isinstance(step["until"], list) else [step["until"]]
        while True:
            for inner in first:
                await self._step(inner)
            try:
                compare(last, await self._answer(last))
            except StepError as error:
                if time.monotonic() > deadline:
                    raise StepError(f"not within {within_ms} ms: {error}") from None
            else:
                return
            await asyncio.sleep(POLL_S)

    async def _answer(self, step: Step) -> dict[str, Any]:
        verb = step["do"]
        fields = {name: value for name, value in step.items() if name not in OF_STEPS}
        try:
            if verb == "await":
                return await self._background[step["id"]]
            if verb == "account":
                return await self._account(**fields)
            if verb in DRIVER_COMMANDS:
                return await self._ask(verb, fields)
            return await self._world.do(verb, self._of_world(verb, fields))
        except (DriverError, AssertionError) as error:
            raise StepError(str(error)) from None
        except grpc.RpcError as error:
            raise StepError(f"the server answered the runner with {error}") from None

    def _of_world(self, verb: str, fields: dict[str, Any]) -> dict[str, Any]:
        """The runner's own words for a step's fields."""
        if verb in WITHOUT_BREAKER:
            return fields
        if verb == "server.policy":
            return {"key": fields.get("breaker", BREAKER), "fields": fields["policy"]}
        return {"key": fields.pop("breaker", BREAKER), **fields}

    async def _ask(self, verb: str, fields: dict[str, Any]) -> dict[str, Any]:
        known = DRIVER_COMMANDS[verb].split()
        if "client" in known:
            fields.setdefault("client", CLIENT)
        if "breaker" in known:
            fields.setdefault("breaker", BREAKER)
        if verb == "client":
            options = {"address": "{address}", "caller": f"app/{fields['client']}", **PATIENT} | fields.get(
                "options", {}
            )
            options["address"] = options["address"].replace("{address}", self._world.wire.address)
            fields["options"] = options
        if verb in ("breaker", "client"):
            fields.setdefault("options", {})
        for name in NAMES:
            if name in fields:
                fields[name] = f"{self._prefix}/{fields[name]}"
        if verb == "client":
            self._clients.append(fields["client"])
        return await self._driver.ask({"do": verb, **fields})

    async def _account(self, calls: int, client: str = CLIENT, breaker: str = BREAKER) -> dict[str, Any]:
        """What became of `calls` permitted calls: counted by the server, or lost and told so by the client."""
        state = await self._world.state(breaker)
        stats = await self._ask("stats", {"client": client})
        counted = sum(state[kind] for kind in COUNTED)
        lost = stats.get("dropped_reports", 0) + stats.get("unreported", 0)
        return {"counted": counted, "lost": lost, "missing": calls - counted - lost}


WITHOUT_BREAKER = {"server.start", "server.kill", "server.stop", "server.advance", "wire", "wire.sent"}
# Where the server's totals have a call that counted. `timeouts` are among the failures.
COUNTED = ("successes", "total_failures", "ignored", "bypassed", "local_failures")


def compare(step: Step, answer: dict[str, Any]) -> None:
    if "only" in step:
        heard = [event for event in answer.get("events", []) if event.get("kind") in step["only"]]
        answer = answer | {"events": heard}
    problems = mismatches(step["expect"], answer) if "expect" in step else []
    if problems:
        raise StepError("; ".join(problems) + f"\n  the whole answer: {json.dumps(answer)}")
