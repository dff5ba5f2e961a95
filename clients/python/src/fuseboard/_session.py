"""The session: acquires, reports and batches on one stream, over reconnects."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import random
import time
from collections import deque
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import grpc

from fuseboard._guard import No, Yes
from fuseboard._view import STATES, of_status, seconds
from fuseboard._watch import delay_of
from fuseboard._wire import OUTCOMES, put_seconds, reason_of, view_of_answer, view_of_report
from fuseboard.options import Verdict, as_seconds
from fuseboard.v1 import breaker_pb2, breaker_service_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fuseboard._guard import Guard, Link
    from fuseboard._tally import Tally
    from fuseboard.options import Settings

log = logging.getLogger("fuseboard")

# What a call ends with when its connection does.
ENDINGS = (grpc.RpcError, grpc.aio.UsageError, asyncio.InvalidStateError)
# Between two attempts to find out whether a session that stands answers in time.
HELLO_MIN_S = 0.1
HELLO_MAX_S = 1.0
# Reports that wait for an answer.
REPORTS_MAX = 10_000
# Acquires that wait for one, those given up included.
ASKS_MAX = 10_000
# An acquire whose answer was lost is asked about again for so long, to give its permit back.
ASK_AGE_MAX_S = 10.0
# A batch whose answer was lost is sent again for so long: the server remembers its number no longer than ten minutes.
BATCH_AGE_MAX_S = 300.0
# Tallies in a batch, well below the server's bound and a frame's.
TALLIES_MAX = 1_000
RETRY_CODES = {grpc.StatusCode.UNAVAILABLE.value[0], grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]}

# What an acquire comes to: nothing where the server could not be asked.
Answer: TypeAlias = Union[Yes, No, None]


def offer(future: Future[Any], value: object) -> bool:
    """Gives a future its value. False where nobody waits for it any more."""
    try:
        future.set_result(value)
    except InvalidStateError:
        return False
    return True


@dataclass(slots=True)
class Ask:
    """An acquire without an answer."""

    guard: Guard
    future: Future[Answer]
    since: float
    request_id: str = field(default_factory=lambda: os.urandom(12).hex())


@dataclass(slots=True)
class Report:
    """The outcome of a call that the server permitted, without an answer."""

    guard: Guard
    permit: bytes
    verdict: Verdict
    duration: float
    expires: float
    future: Future[None] | None = None


@dataclass(slots=True)
class Batch:
    """The batch in flight. It is sent again, the same under the same number, until it is answered."""

    sequence: int
    since: float
    tallies: list[tuple[Guard, Tally]]
    waiting: list[Future[None]]

    @property
    def calls(self) -> int:
        return sum(tally.calls for _, tally in self.tallies)

    @property
    def rejections(self) -> int:
        return sum(tally.rejections for _, tally in self.tallies)


class Session:
    """All that is asked and told. Used on one event loop; `ask`, `report` and `tell` are called on it."""

    def __init__(
        self,
        settings: Settings,
        link: Link,
        guards: dict[str, Guard],
        clock: Callable[[], float],
        *,
        open_stream: Callable[[], Any],
        declare: Callable[[], Awaitable[None]],
        on_first_answer: Callable[[Guard], None],
    ) -> None:
        self._settings = settings
        self._link = link
        self._guards = guards
        self._clock = clock
        self._open_stream = open_stream
        self._declare = declare
        self._on_first_answer = on_first_answer
        self._numbers = itertools.count(1)
        self._sequences = itertools.count(1)
        self._asks: dict[int, Ask] = {}
        self._reports: dict[int, Report] = {}
        self._batch: Batch | None = None
        # When each batch in flight was sent, hellos included, and its sequence.
        self._sent: dict[int, tuple[float, int]] = {}
        # Breakers with something to tell, and who waits for the batch that tells it.
        self._noted: dict[str, Guard] = {}
        self._waiting: list[Future[None]] = []
        # Acquires from before the first session was usable, and of breakers whose declaration is under way.
        self._early: deque[Ask] = deque(maxlen=ASKS_MAX)
        self._is_starting = True
        self.undeclared: set[str] = set()
        self._frame: breaker_service_pb2.SessionRequest | None = None
        self._filled = asyncio.Event()
        self._usable = asyncio.Event()
        self._unusable = asyncio.Event()
        self._unusable.set()
        self._hello_answered = asyncio.Event()
        self._retry: asyncio.TimerHandle | None = None
        self._due: asyncio.TimerHandle | None = None
        self._come_back: float | None = None
        self.reconnects = 0
        self.reported = 0
        self.dropped = 0
        self.dropped_rejections = 0
        self.stale = 0

    # What callers want, on the loop.

    def ask(self, guard: Guard, future: Future[Answer]) -> None:
        """Asks the server; the future has nothing where it cannot be asked."""
        ask = Ask(guard, future, time.monotonic())
        if (self._is_starting and not self._link.usable) or (self._link.usable and guard.key in self.undeclared):
            self._early.append(ask)
        elif self._link.usable and len(self._asks) < ASKS_MAX:
            self._send_ask(next(self._numbers), ask)
        else:
            offer(future, None)

    def report(self, report: Report) -> None:
        """Tells how a call went that the server permitted."""
        if len(self._reports) >= REPORTS_MAX:
            oldest = next(iter(self._reports))
            self._drop(self._reports.pop(oldest))
        number = next(self._numbers)
        self._reports[number] = report
        self._send_report(number, report)

    def tell(self, guard: Guard, *, at_once: bool, future: Future[None] | None = None) -> None:
        """The breaker has something to tell, with the next batch or at once."""
        self._noted[guard.key] = guard
        if future is not None:
            self._waiting.append(future)
        if at_once:
            self._send_batch()
        elif self._due is None:
            loop = asyncio.get_running_loop()
            self._due = loop.call_later(self._settings.report_interval, self._fall_due)

    def declared(self, keys: set[str]) -> None:
        """The declarations of these breakers were answered, or given up."""
        self.undeclared -= keys
        if self._link.usable:
            self._send_early()

    def missed(self) -> None:
        """An answer did not come in time."""
        self._is_starting = False
        self._link.usable = False
        self._usable.clear()
        self._unusable.set()
        self._give_up_early()

    # Over reconnects.

    async def run(self) -> None:
        """Keeps a session open, until cancelled."""
        failures = 0
        while True:
            # In a task of its own: a call whose channel is closed ends as if its task had been cancelled, and that has
            # to be told apart from this one's own end.
            work = asyncio.ensure_future(self._declare_and_converse())
            try:
                await asyncio.wait((work,))
            except asyncio.CancelledError:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                raise
            finally:
                was_usable = self._link.usable
                self._is_over()
            failures = 0 if was_usable else failures + 1
            error = None if work.cancelled() else work.exception()
            if error is not None and not isinstance(error, ENDINGS):
                raise error
            log.debug("the session has ended: %r", error)
            self.reconnects += 1
            come_back, self._come_back = self._come_back, None
            await asyncio.sleep(delay_of(failures) if come_back is None else come_back)

    async def _declare_and_converse(self) -> None:
        await self._declare()
        await self._converse()

    def _is_over(self) -> None:
        self.missed()
        self._frame = None
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        for ask in self._asks.values():
            offer(ask.future, None)

    async def _converse(self) -> None:
        """One session, from its first frame to its end."""
        call = self._open_stream()
        self._frame = breaker_service_pb2.SessionRequest(caller=self._settings.caller)
        self._sent.clear()
        self._again()
        tasks = [asyncio.ensure_future(work) for work in (self._read(call), self._write(call), self._keep_usable())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            call.cancel()
            with contextlib.suppress(Exception):
                await asyncio.gather(*tasks, return_exceptions=True)

    def _again(self) -> None:
        """Sends again what had no answer when the last session ended."""
        now = time.monotonic()
        for number, ask in list(self._asks.items()):
            if now - ask.since > ASK_AGE_MAX_S:
                del self._asks[number]
            else:
                self._send_ask(number, ask)
        for number, report in list(self._reports.items()):
            if now > report.expires:
                self._drop(self._reports.pop(number))
            else:
                self._send_report(number, report)

    async def _keep_usable(self) -> None:
        """While the session is not usable, finds out whether it is again."""
        delay = 0.0
        while True:
            await self._unusable.wait()
            if delay:
                await asyncio.sleep(random.uniform(delay / 2, delay))
            self._hello_answered.clear()
            self._send_hello()
            try:
                await asyncio.wait_for(self._hello_answered.wait(), self._settings.acquire_timeout)
            except asyncio.TimeoutError:
                delay = min(max(2 * delay, HELLO_MIN_S), HELLO_MAX_S)
                self._is_starting = False
                self._give_up_early()
                continue
            delay = HELLO_MIN_S
            self._unusable.clear()
            told: Future[None] = Future()
            if sum(guard.await_pending(told) for guard in self._guards.values()):
                self._waiting.append(told)
            self._link.usable = True
            self._usable.set()
            self._is_starting = False
            for guard in self._guards.values():
                guard.forget_local()
            self._send_early()
            self._send_batch()

    def _send_early(self) -> None:
        for _ in range(len(self._early)):
            ask = self._early.popleft()
            if ask.guard.key in self.undeclared:
                self._early.append(ask)
            elif not ask.future.cancelled():
                self._send_ask(next(self._numbers), ask)

    def _give_up_early(self) -> None:
        while self._early:
            offer(self._early.popleft().future, None)

    async def usable(self) -> None:
        """Until the session answers in time."""
        await self._usable.wait()

    # Frames.

    def _to_fill(self) -> breaker_service_pb2.SessionRequest | None:
        if self._frame is not None:
            self._filled.set()
        return self._frame

    async def _write(self, call: Any) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            frame, self._frame = self._frame, breaker_service_pb2.SessionRequest()
            await call.write(frame)

    def _send_ask(self, number: int, ask: Ask) -> None:
        self._asks[number] = ask
        frame = self._to_fill()
        if frame is not None:
            frame.acquires.add(number=number, breaker=ask.guard.key, request_id=ask.request_id)

    def _send_report(self, number: int, report: Report) -> None:
        frame = self._to_fill()
        if frame is None:
            return
        verdict = report.verdict
        item = frame.reports.add(
            number=number,
            breaker=report.guard.key,
            permit=report.permit,
            outcome=OUTCOMES[verdict.outcome],
            error_class=verdict.error_class,
            origin=breaker_pb2.ORIGIN_LOCAL if verdict.local else breaker_pb2.ORIGIN_UNSPECIFIED,
        )
        if report.duration:
            put_seconds(item.duration, min(report.duration, 86_400.0))
        if verdict.retry_after:
            put_seconds(item.retry_after, min(as_seconds(verdict.retry_after), 86_400.0))

    def _fall_due(self) -> None:
        self._due = None
        self._send_batch()

    def _send_batch(self) -> None:
        """Sends what waits, unless a batch is in flight; then it goes with the next."""
        if self._batch is not None or not self._link.usable or self._frame is None:
            return
        tallies: list[tuple[Guard, Tally]] = []
        now = self._clock()
        for key in list(self._noted):
            if len(tallies) >= TALLIES_MAX:
                break
            guard = self._noted.pop(key)
            tallies += [(guard, tally) for tally in guard.take(now, TALLIES_MAX - len(tallies))]
            if guard.has_pending:
                self._noted[key] = guard
        waiting, self._waiting = self._waiting, []
        if not tallies:
            for future in waiting:
                offer(future, None)
            return
        self._batch = Batch(next(self._sequences), time.monotonic(), tallies, waiting)
        self._put_batch()

    def _put_batch(self) -> None:
        batch, frame = self._batch, self._to_fill()
        if batch is None or frame is None:
            return
        self._put(frame, batch.sequence, batch.tallies)

    def _put(
        self, frame: breaker_service_pb2.SessionRequest, sequence: int, tallies: list[tuple[Guard, Tally]]
    ) -> None:
        number = next(self._numbers)
        self._sent[number] = time.monotonic(), sequence
        now = self._clock()
        frame.batches.add(
            number=number,
            batch=breaker_service_pb2.ReportBatchRequest(
                client_id=self._settings.client_id,
                batch_sequence=sequence,
                tallies=[tally.to_pb(guard.key, self._settings.caller, now) for guard, tally in tallies],
            ),
        )

    def _send_hello(self) -> None:
        batch = self._batch
        if batch is not None and time.monotonic() - batch.since > BATCH_AGE_MAX_S:
            self._end_batch(dropped=True)
        frame = self._to_fill()
        if self._batch is not None:
            self._put_batch()
        elif frame is not None:
            self._put(frame, next(self._sequences), [])

    # Answers.

    async def _read(self, call: Any) -> None:
        async for frame in call:
            for answer in frame.acquired:
                self._acquired(answer)
            for answer in frame.reported:
                self._reported(answer)
            for answer in frame.batches:
                self._counted(answer)
            for error in frame.errors:
                self._failed(error)
            if frame.HasField("goodbye"):
                self._come_back = seconds(frame.goodbye.retry_after)

    def _acquired(self, answer: breaker_service_pb2.SessionAcquired) -> None:
        ask = self._asks.pop(answer.number, None)
        if ask is None:
            return
        guard, now = ask.guard, self._clock()
        is_first = guard.view is None
        if not answer.provisional:
            guard.learn(view_of_answer(answer, guard.view, now))
        if answer.decision == breaker_pb2.DECISION_PERMITTED:
            probe = answer.state == breaker_pb2.STATE_HALF_OPEN
            view = guard.view if answer.provisional else None
            generations = (
                (view.generation, view.caller_generation) if view else (answer.generation, answer.caller_generation)
            )
            yes = Yes(
                "server",
                permit=answer.permit,
                lease=seconds(answer.lease),
                is_probe=probe,
                generations=generations,
            )
            if offer(ask.future, yes):
                guard.counted("server", permitted=True)
            else:
                self.give_back(guard, yes)
        else:
            retry_after = max(seconds(answer.retry_after), 0.01)
            no = No(reason_of(answer.reason), retry_after, STATES.get(answer.state), "server")
            if offer(ask.future, no):
                guard.counted("server", permitted=False)
        if is_first:
            self._on_first_answer(guard)

    def give_back(self, guard: Guard, yes: Yes) -> None:
        """A permit that nobody has: its place is free again."""
        expires = time.monotonic() + yes.lease
        self.report(Report(guard, yes.permit, Verdict("cancelled"), 0.0, expires))

    def _reported(self, answer: breaker_service_pb2.SessionReported) -> None:
        report = self._reports.pop(answer.number, None)
        if report is None:
            return
        guard = report.guard
        if answer.state:
            guard.learn(view_of_report(answer, guard.view))
        if answer.result == breaker_service_pb2.REPORT_RESULT_STALE:
            self.stale += 1
        else:
            self.reported += 1
        _told(report.future)

    def _counted(self, answer: breaker_service_pb2.SessionBatchReported) -> None:
        sent_at, sequence = self._sent.pop(answer.number, (0.0, 0))
        now = self._clock()
        for status in answer.response.changed:
            guard = self._guards.get(status.breaker)
            if guard is not None:
                guard.learn(of_status(status, guard.view, now, scope=status.HasField("caller")))
        if self._batch is not None and self._batch.sequence == sequence:
            stale = _stale_calls(self._batch, answer.response.stale)
            self.stale += stale
            self.reported += self._batch.calls - stale
            self._end_batch()
        if time.monotonic() - sent_at <= self._settings.acquire_timeout:
            self._hello_answered.set()
        if self._waiting or (self._noted and self._due is None):
            self._send_batch()

    def _end_batch(self, *, dropped: bool = False) -> None:
        batch, self._batch = self._batch, None
        if batch is not None:
            if dropped:
                self.dropped += batch.calls
                self.dropped_rejections += batch.rejections
            for future in batch.waiting:
                offer(future, None)

    def _failed(self, error: breaker_service_pb2.SessionError) -> None:
        """An item that the server could not answer."""
        again = error.code in RETRY_CODES and error.HasField("retry_after")
        wait = seconds(error.retry_after)
        loop = asyncio.get_running_loop()
        if error.number in self._asks:
            ask = self._asks.pop(error.number)
            log.warning("breaker %s: %s", ask.guard.key, error.message)
            offer(ask.future, None)
        elif error.number in self._reports:
            if again and time.monotonic() + wait < self._reports[error.number].expires:
                loop.call_later(wait, self._report_again, error.number)
            else:
                log.warning("a report was refused: %s", error.message)
                self._drop(self._reports.pop(error.number))
        elif error.number in self._sent:
            _, sequence = self._sent.pop(error.number)
            if self._batch is None or self._batch.sequence != sequence:
                return
            if again:
                self._retry = loop.call_later(wait, self._put_batch)
            else:
                log.warning("a batch was refused: %s", error.message)
                self._end_batch(dropped=True)
        else:
            log.warning("%s: %s", error.field, error.message)

    def _report_again(self, number: int) -> None:
        if number in self._reports:
            self._send_report(number, self._reports[number])

    def _drop(self, report: Report) -> None:
        self.dropped += 1
        _told(report.future)

    # The end.

    async def flush(self) -> None:
        """Sends what waits and waits until it was answered."""
        while self._link.usable and (self._batch is not None or self._noted or self._reports or self._early):
            self._send_batch()
            await asyncio.sleep(0.002)

    def abandon(self) -> None:
        """Nothing will be sent any more: what waits is counted as dropped."""
        if self._batch is not None:
            self._end_batch(dropped=True)
        for guard in self._noted.values():
            for tally in guard.take(self._clock(), TALLIES_MAX * TALLIES_MAX):
                self.dropped += tally.calls
                self.dropped_rejections += tally.rejections
        self._noted.clear()
        while self._reports:
            self._drop(self._reports.popitem()[1])
        for future in self._waiting:
            offer(future, None)
        for ask in self._asks.values():
            offer(ask.future, None)
        self._asks.clear()
        self._give_up_early()
        if self._due is not None:
            self._due.cancel()


def _told(future: Future[None] | None) -> None:
    if future is not None:
        offer(future, None)


def _stale_calls(batch: Batch, stale: int) -> int:
    """Calls in the tallies that the server found stale, of which it tells only how many they were: first those of
    generations that are known to be over."""
    by_age = sorted(batch.tallies, key=lambda entry: not _is_over(*entry))
    return sum(tally.calls for _, tally in by_age[:stale])


def _is_over(guard: Guard, tally: Tally) -> bool:
    return guard.view is not None and guard.view.generation > tally.generation
