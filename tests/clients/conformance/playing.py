"""Plays many scenarios with one client, several at a time, each against a server of its own."""

import asyncio
import faulthandler
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from conformance import drivers
from conformance.drivers import Driver, DriverError
from conformance.faults import Borne, Fault, suffer
from conformance.player import Played, play
from conformance.scenarios import Scenario

# Most of a scenario is waiting, so more of them fit on a machine than it has cores.
AT_A_TIME = int(os.environ.get("FUSEBOARD_AT_A_TIME", "6"))

Result = TypeVar("Result")


class Plays:
    """The results of a run, by language."""

    def __init__(self, scenarios: dict[str, list[Scenario]], faults: dict[str, list[Fault]]) -> None:
        self._scenarios = scenarios
        self._faults = faults
        self.results: dict[str, dict[str, Played]] = {}
        self._borne: dict[str, dict[str, Borne]] = {}

    def of(self, language: str) -> dict[str, Played]:
        """How the chosen scenarios went, by their ids. The first to ask plays them."""
        if language not in self.results:
            path, chosen = drivers.known()[language], self._scenarios[language]
            self.results[language] = run(play_all(path, chosen))
        return self.results[language]

    def borne(self, language: str) -> dict[str, Borne]:
        """How the chosen faults were borne, by their names. They all happen at the same time, each to a client and a
        server of its own: most of a fault is waiting."""
        if language not in self._borne:
            path, chosen = drivers.known()[language], self._faults[language]
            self._borne[language] = run(suffer_all(path, chosen))
        return self._borne[language]


def run(plays: Coroutine[Any, Any, Result]) -> Result:
    """Runs what takes longer than a hang of other tests, without their dump of every stack. It is bounded by itself."""
    faulthandler.cancel_dump_traceback_later()
    return asyncio.run(plays)


async def suffer_all(path: Path, chosen: list[Fault]) -> dict[str, Borne]:
    try:
        driver = await Driver.start(path)
    except DriverError as error:
        return {fault.name: Borne(str(error), 0, 0.0, 0.0) for fault in chosen}
    try:
        borne = await asyncio.gather(*(suffer(fault, driver, str(at)) for at, fault in enumerate(chosen)))
    finally:
        await driver.close()
    return {fault.name: it for fault, it in zip(chosen, borne, strict=True)}


async def play_all(path: Path, chosen: list[Scenario]) -> dict[str, Played]:
    """Plays them with one driver. One that ends fails the scenarios that were under way; the next ones get another."""
    running: list[Driver] = []
    # One that does not even start is not tried again for each scenario.
    unstartable: list[DriverError] = []
    starting = asyncio.Lock()
    room = asyncio.Semaphore(AT_A_TIME)

    async def driver() -> Driver:
        async with starting:
            if unstartable:
                raise unstartable[0]
            if not running or not running[-1].alive:
                try:
                    running.append(await Driver.start(path))
                except DriverError as error:
                    unstartable.append(error)
                    raise
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
