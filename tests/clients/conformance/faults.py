"""Faults on the real wire while a client works: how long its users wait, what is counted, and how it recovers."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from conformance.drivers import Driver, DriverError
from conformance.world import World

# What the client is told to wait at most for an acquire, and for a report's answer.
TIMEOUT_MS = 200
# What a machine that is busy with other things may add to a call that takes no time.
MARGIN_MS = 3_000
# From the end of a fault until everything is as before. A silence without an end is noticed after 15 s, and the longest
# backoff is 5 s.
CONVERGE_S = 45.0
# From the last call until the server knows of it, or the client that it was lost.
SETTLE_S = 20.0
# Calls of a step of a lane, and the pause between two steps.
CALLS = 5
PAUSE_S = 0.02
# No failure of this load trips these breakers: generations stay, and every call that is told counts.
STURDY = {"failure_threshold": 10_000, "min_callers": 1}
CACHED, STRICT = "cached", "strict"


class FaultError(Exception):
    """A client did not bear a fault as it should."""


@dataclass
class Load:
    """Calls of one client, and what they came to."""

    driver: Driver
    client: str
    # Permitted calls of each breaker.
    calls: dict[str, int] = field(default_factory=lambda: {CACHED: 0, STRICT: 0})
    slowest_ms: float = 0.0

    async def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        return await self.driver.ask({"do": verb, "client": self.client, **fields}, within_s=CONVERGE_S + 15)

    async def begin(self, address: str) -> None:
        """Makes the client and its breakers, and waits until it is whole."""
        options = {
            "address": address,
            "caller": "app/faults",
            "acquire_timeout_ms": TIMEOUT_MS,
            "report_timeout_ms": TIMEOUT_MS,
        }
        await self.ask("client", options=options)
        await self.ask("breaker", breaker=CACHED, options={"policy": STURDY})
        await self.ask("breaker", breaker=STRICT, options={"policy": STURDY, "mode": "strict"})
        if not (await self.ask("ready", timeout_ms=15_000)).get("ready"):
            raise FaultError("it was not ready before the fault")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Calls that succeed and calls that fail, of memory's breaker and of the server's, until the block ends."""
        over = asyncio.Event()
        async with asyncio.TaskGroup() as lanes:
            lanes.create_task(self._lane(over, CACHED, {"returns": 1}))
            lanes.create_task(self._lane(over, CACHED, {"throws": "down"}))
            lanes.create_task(self._lane(over, STRICT, {"returns": 1}))
            try:
                yield
            finally:
                over.set()

    async def _lane(self, over: asyncio.Event, breaker: str, call: dict[str, Any]) -> None:
        while not over.is_set():
            answer = await self.ask("execute", breaker=breaker, call=call, times=CALLS)
            self.calls[breaker] += answer["permitted"]
            self.slowest_ms = max(self.slowest_ms, answer["elapsed_ms"])
            await asyncio.sleep(PAUSE_S)


@dataclass(frozen=True)
class Fault:
    """Something that happens to the wire or to the server, and is over when `happen` returns."""

    name: str
    happen: Callable[[World], Awaitable[None]]
    # False where the server may forget the last second of what it was told: it was killed.
    remembers: bool = True


@dataclass(frozen=True)
class Borne:
    """How a client bore a fault. `problem` is empty where it did as it should."""

    problem: str
    calls: int
    slowest_ms: float
    converged_s: float


async def suffer(fault: Fault, driver: Driver, prefix: str) -> Borne:
    """Lets a client work before, through and after a fault, against a server of its own."""
    load = Load(driver, f"{prefix}/client")
    problem, converged_s = "", 0.0
    try:
        async with World("durable") as world:
            await load.begin(world.wire.address)
            async with load.running():
                await asyncio.sleep(1.0)
                await fault.happen(world)
                converged_s = await converge(load, world)
            await account(load, world, fault)
            if load.slowest_ms > 2 * TIMEOUT_MS + MARGIN_MS:
                raise FaultError(f"a call took {load.slowest_ms:.0f} ms")
    except* (FaultError, DriverError, RuntimeError) as group:
        problem = "; ".join(str(error) for error in group.exceptions)
    finally:
        with contextlib.suppress(DriverError):
            await load.ask("close")
    return Borne(problem, sum(load.calls.values()), load.slowest_ms, converged_s)


async def converge(load: Load, world: World) -> float:
    """Seconds until the client believes what the server says, decides from memory again, and asks where it has to."""
    started = time.monotonic()
    # Until the fault was met at all.
    await asyncio.sleep(1.0)
    while True:
        view = await load.ask("view", breaker=CACHED)
        state = await world.state(CACHED)
        sources = [await source(load, breaker) for breaker in (CACHED, STRICT)]
        same = all(view.get(field) == state.get(field) for field in ("state", "generation"))
        if same and view.get("fresh") and sources == ["cached", "server"]:
            return time.monotonic() - started
        if time.monotonic() - started > CONVERGE_S:
            raise FaultError(f"{CONVERGE_S:g} s later: view {view}, server {state}, decided by {sources}")
        await asyncio.sleep(0.1)


async def source(load: Load, breaker: str) -> str:
    """Who decides a call now. The call itself is not made."""
    permit = f"{load.client}/{breaker}"
    answer = await load.ask("acquire", breaker=breaker, permit=permit)
    if answer["decision"] == "permitted":
        await load.driver.ask({"do": "forget", "permit": permit})
    return str(answer["source"])


async def account(load: Load, world: World, fault: Fault) -> None:
    """No call is counted twice, and none is lost without being told so.

    Calls that were made are successes and failures; what the runner itself asked for and forgot is neither.
    """
    calls = sum(load.calls.values())
    deadline = time.monotonic() + SETTLE_S
    while True:
        states = [await world.state(breaker) for breaker in (CACHED, STRICT)]
        stats = await load.ask("stats")
        counted = sum(state["successes"] + state["total_failures"] for state in states)
        told = sum(state["stale"] for state in states) + stats.get("dropped_reports", 0) + stats.get("unreported", 0)
        if counted > calls:
            raise FaultError(f"{calls} calls were made, and {counted} counted")
        if counted + told >= calls or not fault.remembers:
            return
        if time.monotonic() > deadline:
            raise FaultError(f"of {calls} calls {counted} were counted, and {told} told as lost or stale: {stats}")
        await asyncio.sleep(0.1)


# ---- The faults ------------------------------------------------------------------------------------------------------


async def killed(world: World) -> None:
    await world.kill()
    await asyncio.sleep(3.0)
    await world.start()


async def stopped(world: World) -> None:
    await world.stop()
    await asyncio.sleep(2.0)
    await world.start()


async def silent(world: World) -> None:
    """Every connection is dead from now on, and nobody is told. New ones are as ever."""
    world.wire.hole()
    world.wire.restore()


async def half_open(world: World) -> None:
    """The same, and for a while new connections are greeted and not served either."""
    world.wire.hole()
    await asyncio.sleep(6.0)
    world.wire.restore()


async def slow(world: World) -> None:
    """Every byte takes 2 s, each way."""
    world.wire.delay_s = 2.0
    await asyncio.sleep(6.0)
    world.wire.restore()


async def flapping(world: World) -> None:
    """Connections last a few tenths of a second."""
    for _ in range(20):
        world.wire.cut()
        await asyncio.sleep(random.uniform(0.05, 0.4))


FAULTS = (
    Fault("the server is killed and comes back", killed, remembers=False),
    Fault("the server is stopped and comes back", stopped),
    Fault("the stream is cut silently", silent),
    Fault("connections are half-open", half_open),
    Fault("every byte takes 2 s", slow),
    Fault("the wire flaps", flapping),
)


def storm(seed: int, seconds: float) -> Fault:
    """One fault after the other, in an order of its own."""
    dice = random.Random(seed)

    async def happen(world: World) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await dice.choice(FAULTS).happen(world)
            await asyncio.sleep(dice.uniform(0.0, 5.0))

    return Fault(f"a storm of faults (seed {seed})", happen, remembers=False)
