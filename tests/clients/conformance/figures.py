"""Prints the figures of the clients as markdown.

    figures.py [--trips N] [--no-bench]

After a trip that others caused: how long a client in cached mode still lets calls through, and how many, one call after
the other through its driver. And what a call costs, as each client's own benchmark (`make bench`) says.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(FOLDER), str(FOLDER / "python"), str(FOLDER / "python" / "gen")]

from conformance import drivers  # noqa: E402 (the path is set first)
from conformance.drivers import Driver  # noqa: E402
from conformance.world import World  # noqa: E402

CLIENT, BREAKER = "client", "db"
# Past this a client has not heard of the trip at all.
HEARD_S = 10.0
BENCH_S = 120.0


@dataclass(frozen=True)
class Trips:
    """What was let through after each of many trips."""

    calls: list[int]
    ms: list[float]
    calls_a_second: float


async def trips(path: Path, count: int) -> Trips:
    """Trips a breaker by another caller's calls while a client makes one call after the other."""
    driver = await Driver.start(path)
    try:
        async with World("manual") as world:
            options = {"address": world.wire.address, "caller": "app/figures"}
            policy = {"failure_threshold": 3, "open_duration": "3600s", "min_callers": 1}
            await driver.ask({"do": "client", "client": CLIENT, "options": options})
            await ask(driver, "breaker", options={"policy": policy})
            await ask(driver, "ready", timeout_ms=15_000)
            told = [await one_trip(driver, world) for _ in range(count)]
            await driver.ask({"do": "close", "client": CLIENT})
    finally:
        await driver.close()
    return Trips([it[0] for it in told], [it[1] for it in told], statistics.median(it[2] for it in told))


async def one_trip(driver: Driver, world: World) -> tuple[int, float, float]:
    """Calls let through after the server had answered the tripping report, for how long, and the pace of the calls."""
    # The client's own rejections and reports of the trip before are through, and it is closed to everybody.
    await world.reset(BREAKER)
    while (await ask(driver, "acquire", permit="p"))["decision"] != "permitted":
        await asyncio.sleep(0.005)
    tripping = asyncio.create_task(world.trip(BREAKER))
    tripped_at = 0.0
    permitted = made = 0
    started = time.perf_counter()
    while True:
        asked_at = time.perf_counter()
        answer = await ask(driver, "acquire", permit="p")
        now = time.perf_counter()
        made += 1
        if not tripped_at and tripping.done():
            await tripping
            tripped_at = asked_at
        if answer["decision"] == "rejected":
            await tripping
            return permitted, (now - tripped_at) * 1000 if permitted else 0.0, made / (now - started)
        if tripped_at:
            permitted += 1
            if now - tripped_at > HEARD_S:
                raise TimeoutError(f"the trip was not heard of within {HEARD_S:g} s")


async def ask(driver: Driver, verb: str, **fields: object) -> dict[str, object]:
    command = {"do": verb, "client": CLIENT, **fields}
    return await driver.ask(command if verb == "ready" else command | {"breaker": BREAKER})


def share(values: list[float], part: float) -> float:
    """The value that this part of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def print_trips(count: int) -> None:
    print(f"**After a trip by others ({count} trips each)**\n")
    print("| client | still let through: ms, p50 | p99 | calls, p50 | p99 | at calls/s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for language, path in drivers.known().items():
        met = asyncio.run(trips(path, count))
        ms = f"{share(met.ms, 0.5):.1f} | {share(met.ms, 0.99):.1f}"
        calls = [float(it) for it in met.calls]
        print(f"| {language} | {ms} | {share(calls, 0.5):.0f} | {share(calls, 0.99):.0f} | {met.calls_a_second:,.0f} |")


def print_bench() -> None:
    costs: dict[str, dict[str, float]] = defaultdict(dict)
    for language, path in drivers.known().items():
        command = ["make", "--silent", "-C", str(path.parent), "bench"]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=BENCH_S, check=True)
        for line in run.stdout.splitlines():
            if line.startswith("{"):
                figure = json.loads(line)
                costs[language][figure["what"]] = float(figure["ns_per_call"])
    print("\n**What a call costs, in ns**\n")
    print("| client | an empty call | cached | above an empty call | strict | in-process |")
    print("| --- | --- | --- | --- | --- | --- |")
    for language, by_kind in costs.items():
        empty, cached, strict = (by_kind.pop(kind, float("nan")) for kind in ("empty", "cached", "strict"))
        others = ", ".join(f"{name} {cost:,.0f}" for name, cost in by_kind.items())
        print(f"| {language} | {empty:,.0f} | {cached:,.0f} | {cached - empty:,.0f} | {strict:,.0f} | {others} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trips", type=int, default=200, help="trips of each client (200)")
    parser.add_argument("--no-bench", action="store_true", help="leave the benchmarks out")
    arguments = parser.parse_args()
    print_trips(arguments.trips)
    if not arguments.no_bench:
        print_bench()


if __name__ == "__main__":
    main()
