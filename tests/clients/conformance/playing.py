"""Plays many scenarios with one client, several at a time, each against a server of its own."""

import asyncio
import os
from pathlib import Path

from conformance import drivers
from conformance.drivers import Driver, DriverError
from conformance.player import Played, play
from conformance.scenarios import Scenario

# Most of a scenario is waiting, so more of them fit on a machine than it has cores.
AT_A_TIME = int(os.environ.get("FUSEBOARD_AT_A_TIME", "6"))


class Plays:
    """The results of a run, by language."""

    def __init__(self, chosen: dict[str, list[Scenario]]) -> None:
        self.chosen = chosen
        self.results: dict[str, dict[str, Played]] = {}

    def of(self, language: str) -> dict[str, Played]:
        """How the chosen scenarios went, by their ids. The first to ask plays them."""
        if language not in self.results:
            chosen = self.chosen[language]
            self.results[language] = asyncio.run(play_all(drivers.known()[language], chosen))
        return self.results[language]


async def play_all(path: Path, chosen: list[Scenario]) -> dict[str, Played]:
    """Plays them with one driver. One that ends fails the scenarios that were under way; the next ones get another."""
    running: list[Driver] = []
    starting = asyncio.Lock()
    room = asyncio.Semaphore(AT_A_TIME)

    async def driver() -> Driver:
        async with starting:
            if not running or not running[-1].alive:
                running.append(await Driver.start(path))
            return running[-1]

    async def one(number: int, scenario: Scenario) -> Played:
        async with room:
            try:
                return await play(scenario, await driver(), str(number))
            except DriverError as error:
                return Played(str(error), 0.0)

    try:
        played = await asyncio.gather(*(one(number, scenario) for number, scenario in enumerate(chosen)))
    finally:
        codes = [await it.close() for it in running]
    if codes and codes[-1] is None:
        problem = f"the driver did not end within {drivers.STOP_S:g} s of the end of its input"
        played = [it if it.problem else Played(problem, it.seconds) for it in played]
    return {scenario.id: it for scenario, it in zip(chosen, played, strict=True)}
