"""What a client's process does apart from its calls."""

import asyncio
from pathlib import Path

from conformance import drivers
from conformance.drivers import Driver
from conformance.world import World


def test_a_process_ends_though_its_client_was_not_closed(language: str) -> None:
    assert asyncio.run(left_open(drivers.known()[language])) == 0


async def left_open(path: Path) -> int | None:
    """The exit code of a process that ends with a client at work. None: it had to be killed."""
    async with World("real") as world:
        driver = await Driver.start(path)
        try:
            await driver.ask({"do": "client", "client": "a", "options": {"address": world.wire.address}})
            await driver.ask({"do": "breaker", "client": "a", "breaker": "db", "options": {}})
            await driver.ask({"do": "ready", "client": "a", "timeout_ms": 15_000})
            await driver.ask({"do": "execute", "client": "a", "breaker": "db", "call": {"returns": 1}})
        finally:
            code = await driver.close()
    return code
