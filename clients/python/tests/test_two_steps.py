"""The two steps by hand: what an acquire knows of outcomes whose reports were not awaited."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import pytest

import fuseboard
from conftest import Server, until
from fuseboard import aio
from fuseboard.v1 import breaker_service_pb2 as pb
from fuseboard.v1.breaker_service_pb2_grpc import BreakerServiceServicer, add_BreakerServiceServicer_to_server

POLICY = fuseboard.Policy(failure_threshold=3, open_duration=30, min_callers=1)


class Unawaited:
    """Reports that run beside the caller."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Future[None]] = set()

    def start(self, report: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.ensure_future(report))

    async def done(self) -> None:
        await asyncio.gather(*self._tasks)


@pytest.mark.parametrize("mode", ["cached", "strict"])
def test_failing_calls_stop_at_the_threshold_also_where_nobody_waits_for_their_reports(
    server: Server, mode: Any
) -> None:
    async def run() -> None:
        async with aio.Client(
            server.address, caller="test/1", mode=mode, acquire_timeout=5, report_timeout=5
        ) as client:
            for attempt in range(10):
                breaker = client.breaker(f"unawaited/{mode}/{attempt}", policy=POLICY)
                assert await client.ready()
                await (await breaker.acquire()).success()
                reports, calls = Unawaited(), 0
                for _ in range(50):
                    try:
                        permit = await breaker.acquire()
                    except fuseboard.RejectedError:
                        continue
                    calls += 1
                    reports.start(permit.failure())
                    # The report is recorded; its answer has not come.
                    await asyncio.sleep(0)
                assert calls == 3
                await reports.done()

    asyncio.run(run())


def test_failing_calls_of_a_thread_stop_at_the_threshold(client: fuseboard.Client) -> None:
    breaker = client.breaker("thread", policy=POLICY)
    assert client.ready()
    breaker.acquire().success()
    calls = 0
    for _ in range(50):
        try:
            permit = breaker.acquire()
        except fuseboard.RejectedError:
            continue
        calls += 1
        permit.failure()
    assert calls == 3


@pytest.mark.parametrize("failures", [3, 5, 10, 50])
def test_failures_at_once_and_a_success_before_they_are_sent_open_too(server: Server, failures: int) -> None:
    async def run() -> None:
        async with aio.Client(server.address, caller="test/1", acquire_timeout=5, report_timeout=5) as client:
            breaker = client.breaker(f"at-once/{failures}", policy=POLICY)
            assert await client.ready()
            await (await breaker.acquire()).success()
            permits = [await breaker.acquire() for _ in range(failures + 1)]
            reports = Unawaited()
            for permit in permits[:-1]:
                reports.start(permit.failure())
            reports.start(permits[-1].success())
            await asyncio.sleep(0)
            with pytest.raises(fuseboard.RejectedError):
                await breaker.acquire()
            await reports.done()

    asyncio.run(run())


def test_outcomes_of_two_generations_that_alternate_are_all_told(client: fuseboard.Client) -> None:
    breaker = client.breaker("alternate", policy=POLICY)
    assert client.ready()
    breaker.acquire().success()
    until(lambda: client.stats().reported == 1)
    old = [breaker.acquire() for _ in range(30)]
    view = breaker.view()
    assert view is not None
    breaker.reset("drill")
    until(lambda: (breaker.view() or view)["generation"] > view["generation"])
    new = [breaker.acquire() for _ in range(30)]
    for permit in itertools.chain.from_iterable(zip(old, new, strict=True)):
        permit.success()
    until(lambda: client.stats().reported + client.stats().stale_reports == 61)
    assert (client.stats().dropped_reports, client.stats().stale_reports) == (0, 30)
    assert breaker.state().totals.successes == 31


async def eventually(holds: Callable[[], bool]) -> None:
    async def look() -> None:
        while not holds():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(look(), 20)


class Quiet(BreakerServiceServicer):
    """A server that sends frames without answers, and answers batches only once it is told to."""

    def __init__(self) -> None:
        self.answers = False
        self.sessions = 0
        self.frames = 0

    async def Session(self, requests: Any, _context: Any) -> Any:  # noqa: N802
        self.sessions += 1
        yield pb.SessionResponse()
        async for request in requests:
            self.frames += 1
            yield pb.SessionResponse()
            if self.answers:
                answered = [
                    pb.SessionBatchReported(number=batch.number, response=pb.ReportBatchResponse())
                    for batch in request.batches
                ]
                yield pb.SessionResponse(batches=answered)


def test_a_frame_without_answers_means_nothing() -> None:
    async def run() -> None:
        fake, server = Quiet(), grpc.aio.server()
        add_BreakerServiceServicer_to_server(fake, server)  # type: ignore[no-untyped-call]
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        options: dict[str, Any] = {"acquire_timeout": 0.05, "max_staleness": 600, "when_unavailable": "permit"}
        async with aio.Client(f"127.0.0.1:{port}", caller="test/1", **options) as client:
            client.connected()
            await eventually(lambda: fake.frames >= 3)
            assert not client.stats().usable
            fake.answers = True
            await eventually(lambda: client.stats().usable)
            await (await client.breaker("db").acquire()).success()
            assert fake.sessions == 1
        await server.stop(0)

    asyncio.run(run())
