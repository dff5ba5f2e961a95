"""A fleet of clients, and a server that goes and comes back: do they come one by one, or all at once?"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from conformance.drivers import Driver, DriverError
from conformance.wire import TENTHS
from conformance.world import World

PROCESSES = 4
CLIENTS = 50
BREAKER = "db"
AWAY_S = 3.0
# From the server's return until every client is whole again.
RETURN_S = 30.0


@dataclass(frozen=True)
class Fleet:
    """Clients of one language, spread over a few processes."""

    drivers: list[Driver]

    @property
    def names(self) -> list[tuple[Driver, str]]:
        return [(driver, str(number)) for driver in self.drivers for number in range(CLIENTS)]

    async def begin(self, address: str) -> None:
        for number, (driver, name) in enumerate(self.names):
            options = {"address": address, "caller": f"fleet/{number}", "acquire_timeout_ms": 1_000}
            await driver.ask({"do": "client", "client": name, "options": options})
            await driver.ask({"do": "breaker", "client": name, "breaker": BREAKER, "options": {}})

    async def ready(self, within_s: float) -> int:
        """How many are whole within a time."""

        async def one(driver: Driver, name: str) -> bool:
            command = {"do": "ready", "client": name, "timeout_ms": within_s * 1000}
            return bool((await driver.ask(command, within_s=within_s + 30)).get("ready"))

        return sum(await asyncio.gather(*(one(*name) for name in self.names)))

    async def call(self) -> int:
        """How many can make a call now."""

        async def one(driver: Driver, name: str) -> int:
            command = {"do": "execute", "client": name, "breaker": BREAKER, "call": {"returns": 1}}
            return int((await driver.ask(command)).get("permitted", 0))

        return sum(await asyncio.gather(*(one(*name) for name in self.names)))

    async def usable(self) -> int:
        """How many have a session that can be used."""
        stats = [driver.ask({"do": "stats", "client": name}) for driver, name in self.names]
        return sum(bool(it.get("usable")) for it in await asyncio.gather(*stats))


@asynccontextmanager
async def fleet(path: Path) -> AsyncIterator[Fleet]:
    drivers: list[Driver] = []
    try:
        for _ in range(PROCESSES):
            drivers.append(await Driver.start(path))
        yield Fleet(drivers)
    finally:
        await asyncio.gather(*(driver.close() for driver in drivers))


@dataclass(frozen=True)
class Return:
    """What a server met when it came back: what reached it in each tenth of a second, and who was whole in the end."""

    ready: int
    permitted: int
    counts: dict[str, Counter[int]]

    def most(self, kind: str) -> int:
        """The most of a kind in a tenth of a second."""
        return max(self.counts[kind].values(), default=0)

    def total(self, kind: str) -> int:
        return self.counts[kind].total()


async def come_back(path: Path) -> Return:
    """A server dies under a fleet that works, stays away, and comes back."""
    async with World("real") as world, fleet(path) as clients:
        await clients.begin(world.wire.address)
        if (ready := await clients.ready(60.0)) < len(clients.names):
            raise DriverError(f"{ready} of {len(clients.names)} clients were ready at the start")
        await clients.call()
        await world.kill()
        while await clients.usable():
            await asyncio.sleep(0.1)
        await asyncio.sleep(AWAY_S)
        for count in world.wire.counts.values():
            count.clear()
        await world.start()
        ready = await clients.ready(RETURN_S)
        counts = {kind: Counter(count) for kind, count in world.wire.counts.items()}
        return Return(ready, await clients.call(), counts)


def spread_s(counts: Counter[int]) -> float:
    """From the first to the last."""
    return (max(counts) - min(counts) + 1) / TENTHS if counts else 0.0
