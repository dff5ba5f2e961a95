"""The client for asyncio, against a server."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import fuseboard
from conftest import Server
from fuseboard import aio

POLICY = fuseboard.Policy(failure_threshold=3, open_duration=30)


class PaymentError(Exception):
    """What a guarded call raises."""


async def fail() -> None:
    raise PaymentError


async def fine() -> str:
    return "fine"


def run(server: Server, story: Callable[[aio.Client], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        own: dict[str, Any] = {"caller": "test/1", "acquire_timeout": 2, "report_timeout": 2} | options
        async with aio.Client(server.address, **own) as client:
            await story(client)
        # Streams that were cancelled take a turn or two of the loop to end.
        async with asyncio.timeout(15):
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0)

    asyncio.run(main())


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(15):
        while not await holds():
            await asyncio.sleep(0.005)


def test_a_trip_is_seen_at_once_and_a_fallback_may_be_a_coroutine(server: Server) -> None:
    async def story(client: aio.Client) -> None:
        async def fall_back(error: Exception) -> str:
            return type(error).__name__

        breaker = client.breaker("aio-trip", policy=POLICY, fallback=fall_back)
        assert await breaker.execute(fine) == "fine"
        assert [await breaker.execute(fail) for _ in range(4)] == ["PaymentError"] * 3 + ["RejectedError"]

    run(server, story)


def test_a_call_that_takes_too_long_is_cancelled_and_a_timeout(server: Server) -> None:
    async def story(client: aio.Client) -> None:
        breaker = client.breaker("aio-timeout", policy=POLICY, call_timeout=0.02)
        assert await client.ready()
        with pytest.raises(fuseboard.CallTimeoutError):
            await breaker.execute(asyncio.sleep, 60)
        assert (await breaker.state()).totals.timeouts == 1

    run(server, story)


def test_a_task_that_is_cancelled_gives_its_permit_back(server: Server) -> None:
    async def story(client: aio.Client) -> None:
        breaker = client.breaker("aio-cancel", policy=POLICY, mode="strict")
        assert await client.ready()
        started = asyncio.Event()

        async def hang() -> None:
            started.set()
            await asyncio.sleep(60)

        task = asyncio.ensure_future(breaker.execute(hang))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        async def is_told() -> bool:
            return (await breaker.state()).totals.ignored == 1

        await until(is_told)

    run(server, story)


def test_permits_are_reported_once_and_never_forgotten(server: Server) -> None:
    async def story(client: aio.Client) -> None:
        breaker = client.breaker("aio-permit", policy=POLICY, mode="strict")
        assert await client.ready()
        async with breaker.permit() as permit:
            await permit.failure()
            await permit.success()
        with pytest.raises(PaymentError):
            async with breaker.permit():
                raise PaymentError
        await breaker.acquire()
        gc.collect()

        async def is_told() -> bool:
            return (await breaker.state()).totals.ignored == 1

        await until(is_told)
        assert (await breaker.state()).totals.failures == 2

    run(server, story)


def test_events_come_by_iterator_and_by_coroutine(server: Server) -> None:
    async def story(client: aio.Client) -> None:
        heard: list[str] = []

        async def listen(event: fuseboard.Event) -> None:
            heard.append(event.kind)

        client.on_event(listen)
        breaker = client.breaker("aio-events", policy=POLICY)
        assert await client.ready()
        events = client.events()
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        for _ in range(3):
            with pytest.raises(PaymentError):
                await breaker.execute(fail)
        assert (await asyncio.wait_for(first, 15)).kind == "opened"
        assert heard == ["opened"]

    run(server, story)


def test_a_client_that_nobody_closes_ends_with_its_loop(server: Server) -> None:
    async def story() -> None:
        client = aio.Client(server.address, caller="test/1")
        client.breaker("aio-unclosed")
        assert await client.ready(15)

    asyncio.run(story())


def test_a_decorator_guards_a_coroutine_function(server: Server) -> None:
    async def story(client: aio.Client) -> None:
        breaker = client.breaker("aio-decorator", policy=POLICY)

        @breaker
        async def charge(amount: int) -> int:
            return amount

        assert await charge(5) == 5

    run(server, story)


def test_a_server_that_dies_and_returns_costs_little_and_loses_no_event() -> None:
    mine = Server("--manual-clock")

    async def story() -> None:
        async with aio.Client(mine.address, caller="test/1") as client:
            breaker = client.breaker("aio-away", policy=POLICY)
            assert await client.ready(15)
            mine.kill()
            loop = asyncio.get_running_loop()
            for _ in range(20):
                start = loop.time()
                assert await breaker.execute(fine) == "fine"
                assert loop.time() - start < 1
                await asyncio.sleep(0.05)
            mine.start()

            async def is_back() -> bool:
                # The server that returned may not know the breaker before it is asked for.
                assert await breaker.execute(fine) == "fine"
                stats = client.stats()
                return stats.usable and stats.resyncs == 1 and breaker.view() is not None

            await until(is_back)

    try:
        asyncio.run(story())
    finally:
        mine.kill()
