"""The client for asyncio. Its connection lives on the event loop that it is first used on."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar, cast

from fuseboard._calls import BreakerOptions, Guarded, Home, Stats, checked_options, judge
from fuseboard._guard import Mode, No, WhenUnavailable, Yes
from fuseboard._link import Connection
from fuseboard.errors import CallTimeoutError, FuseboardError
from fuseboard.events import Event
from fuseboard.options import (
    BREAKERS_MAX,
    Classify,
    Duration,
    Outcome,
    Policy,
    Tls,
    Verdict,
    as_seconds,
    check_key,
    settings,
)
from fuseboard.v1 import breaker_service_pb2, policy_pb2

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("fuseboard")

EVENTS_MAX = 1_000

__all__ = ["Breaker", "Client", "Permit", "Stats"]


class Client(Home):
    """Protects calls by breakers that a Fuseboard server keeps for a whole fleet.

    It connects with its first call, and belongs to that event loop.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        caller: str | None = None,
        token: str | None = None,
        tls: Tls | bool | None = None,
        mode: Mode = "cached",
        when_unavailable: WhenUnavailable = "local",
        acquire_timeout: Duration = 0.05,
        report_timeout: Duration = 0.05,
        report_interval: Duration = 0.1,
        progress_interval: Duration = 2.0,
        max_staleness: Duration | None = None,
        close_timeout: Duration = 1.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """See clients/README.md for the options; `clock` is for tests: monotonic seconds.

        :raises ValueError: naming the option that is wrong.
        """
        checked = settings(
            address,
            caller=caller,
            token=token,
            tls=tls,
            mode=mode,
            when_unavailable=when_unavailable,
            acquire_timeout=acquire_timeout,
            report_timeout=report_timeout,
            report_interval=report_interval,
            progress_interval=progress_interval,
            max_staleness=max_staleness,
            close_timeout=close_timeout,
        )
        super().__init__(checked, clock)
        self._breakers: dict[str, Breaker] = {}
        self._listeners: list[Callable[[Event], Any]] = []
        self._listening: set[asyncio.Future[None]] = set()
        self._feeds: weakref.WeakSet[asyncio.Queue[Event | None]] = weakref.WeakSet()
        self._loop: asyncio.AbstractEventLoop | None = None

    def breaker(
        self,
        key: str,
        *,
        policy: Policy | policy_pb2.Policy | None = None,
        revision: int = 0,
        mode: Mode | None = None,
        when_unavailable: WhenUnavailable | None = None,
        call_timeout: Duration | None = None,
        classify: Classify | None = None,
        fallback: Callable[..., Any] | None = None,
    ) -> Breaker:
        """The breaker with this key. Asked for again it is the same one, and its options are those of the first time.

        `call_timeout` cancels the call. `fallback` gets the error; it may be a coroutine function.

        :raises ValueError: for a bad key or option, and for more than 1,000 breakers.
        """
        known = self._breakers.get(key)
        if known is not None:
            return known
        options = checked_options(call_timeout, classify, fallback)
        if len(self._breakers) >= BREAKERS_MAX:
            raise ValueError(f"a client has at most {BREAKERS_MAX} breakers: is there an id in the key {key!r}?")
        guard = self.new_guard(check_key(key), policy, revision, mode, when_unavailable)
        self.guards[key] = guard
        breaker = self._breakers[key] = Breaker(self, guard, options)
        if self.connection is not None:
            self.connection.add(guard)
        return breaker

    async def ready(self, timeout: Duration = 5.0) -> bool:
        """Waits until breakers are decided from memory. False where that takes longer."""
        try:
            await asyncio.wait_for(self.connected().ready(), as_seconds(timeout))
        except asyncio.TimeoutError:
            return False
        return True

    def on_event(self, listener: Callable[[Event], Any]) -> None:
        """Calls the listener for each event of this client's breakers; one that is a coroutine function becomes a task.

        What it raises is logged.
        """
        self._listeners.append(listener)

    async def events(self) -> AsyncIterator[Event]:
        """The events of this client's breakers from now on, until it is closed.

        One that is read too slowly loses the newest, and is told so by a `resync`.
        """
        feed: asyncio.Queue[Event | None] = asyncio.Queue(EVENTS_MAX + 2)
        self._feeds.add(feed)
        while (event := await feed.get()) is not None:
            yield event

    async def close(self) -> None:
        """Sends what waits, within `close_timeout`, and ends the connection.

        Calls after it are decided without a server.
        """
        if self.is_closed:
            return
        self.is_closed = True
        if self.connection is not None:
            await self.connection.close()
        self.link.usable, self.link.closed = False, True
        for feed in list(self._feeds):
            with contextlib.suppress(asyncio.QueueFull):
                feed.put_nowait(None)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def connected(self) -> Connection:
        """The connection, which is made here where there is none."""
        if self.is_closed:
            raise FuseboardError("the client is closed")
        if self.connection is None:
            self._loop = asyncio.get_running_loop()
            self.new_connection(self._heard)
        assert self.connection is not None
        return self.connection

    def on_loop(self, work: Callable[[Connection], None]) -> None:
        if not self.is_closed:
            work(self.connected())

    def _heard(self, event: Event) -> None:
        for feed in list(self._feeds):
            if feed.qsize() < EVENTS_MAX:
                feed.put_nowait(event)
            elif feed.qsize() == EVENTS_MAX:
                feed.put_nowait(Event("resync", reason="slow_listener"))
        for listener in list(self._listeners):
            try:
                answer = listener(event)
                if asyncio.iscoroutine(answer):
                    task = asyncio.ensure_future(_logged(answer))
                    self._listening.add(task)
                    task.add_done_callback(self._listening.discard)
            except Exception:
                log.exception("a listener has failed")


class Breaker(Guarded):
    """One breaker. Get it from a client once, and keep it."""

    __slots__ = ()
    _home: Client

    async def execute(self, call: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Makes the call if the breaker permits it, and reports how it went.

        :raises RejectedError: where it was rejected and there is no fallback.

        What the call raises comes back untouched.
        :raises CallTimeoutError: where it took longer than `call_timeout`.
        """
        return await self._execute(self._options, call, args, kwargs)

    def __call__(self, call: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        """As a decorator: `@payments`."""
        return self.protect()(call)

    def protect(
        self,
        *,
        call_timeout: Duration | None = None,
        classify: Classify | None = None,
        fallback: Callable[..., Any] | None = None,
    ) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
        """A decorator with options of its own: `@payments.protect(fallback=...)`. Those left out are the breaker's."""
        mine = checked_options(call_timeout, classify, fallback)
        options = BreakerOptions(
            mine.call_timeout or self._options.call_timeout,
            mine.classify or self._options.classify,
            mine.fallback or self._options.fallback,
        )

        def decorate(call: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
            @functools.wraps(call)
            async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
                return await self._execute(options, call, args, kwargs)

            return guarded

        return decorate

    async def _execute(self, options: BreakerOptions, call: Callable[..., Awaitable[T]], args: Any, kwargs: Any) -> T:
        clock = self._home.clock
        if self._guard.awaited is not None:
            await self._await_decisive()
        decision = self._guard.decide(clock())
        if decision is None:
            decision = await self._ask()
        if isinstance(decision, No):
            return cast("T", await _fall_back(options, self.rejected(decision)))
        start = clock()
        try:
            if options.call_timeout is None:
                result = await call(*args, **kwargs)
            else:
                result = await _within(options.call_timeout, call(*args, **kwargs))
        except BaseException as error:
            late = isinstance(error, CallTimeoutError)
            verdict = Verdict("timeout", "call_timeout") if late else judge(options.classify, None, error)
            told = self.tell(decision, verdict, clock() - start)
            if not isinstance(error, Exception):
                raise
            await self._wait_for(told)
            if options.fallback is None:
                raise
            return cast("T", await _fall_back(options, error))
        now = clock()
        if options.classify is None and decision.source == "cached":
            self._guard.settle(decision, "success", now, duration=now - start)
            return result
        await self._wait_for(self.tell(decision, judge(options.classify, result, None), now - start))
        return result

    async def acquire(self) -> Permit:
        """Leave for one call, to be reported by hand. Use it in an `async with`, or report it.

        :raises RejectedError: where the call is rejected.
        """
        if self._guard.awaited is not None:
            await self._await_decisive()
        decision = self._guard.decide(self._home.clock())
        if decision is None:
            decision = await self._ask()
        if isinstance(decision, No):
            raise self.rejected(decision)
        return Permit(self, decision)

    @contextlib.asynccontextmanager
    async def permit(self) -> AsyncIterator[Permit]:
        """`async with payments.permit() as permit:`: an error is classified as `execute` does it, none is a success."""
        async with await self.acquire() as permit:
            yield permit

    async def state(self) -> breaker_service_pb2.GetStateResponse:
        """All about the breaker, asked from the server.

        :raises BreakerNotFoundError: where the server has never seen it.
        :raises ServerError: where the server cannot answer.
        """
        return await self._home.connected().state(self.key)

    async def reset(self, reason: str = "", actor: str = "") -> None:
        """Closes the breaker, for all, with empty statistics.

        :raises BreakerNotFoundError: where the server has never seen it.
        :raises ServerError: where the server cannot do it. The local breaker is forgotten all the same.
        """
        self._guard.forget_run()
        await self._home.connected().reset(self.key, reason, actor)

    async def declare(self, policy: Policy, revision: int) -> policy_pb2.PolicyInForce:
        """Declares another policy; what is in force comes back. State and statistics stay.

        :raises ServerError: where the server refuses it.
        """
        return await self._home.connected().declare(self.key, policy.to_pb(), revision)

    async def _ask(self) -> Yes | No:
        home = self._home
        decision: Yes | No | None = None
        if not home.is_closed:
            answer: Future[Yes | No | None] = Future()
            session = home.connected().session
            session.ask(self._guard, answer)
            try:
                decision = await asyncio.wait_for(asyncio.wrap_future(answer), home.settings.acquire_timeout)
            except asyncio.TimeoutError:
                decision = None if answer.cancelled() else answer.result()
                if decision is None:
                    session.missed()
            except asyncio.CancelledError:
                if not answer.cancelled() and answer.done() and isinstance(given := answer.result(), Yes):
                    session.give_back(self._guard, given)
                raise
        return decision or self._guard.without_server(home.clock())

    async def _wait_for(self, told: Future[None] | None) -> None:
        if told is None or self._home.is_closed:
            return
        # Others may wait for the same answer: it is not cancelled where this one gives up.
        done, _ = await asyncio.wait((asyncio.wrap_future(told),), timeout=self._home.settings.report_timeout)
        if not done and self._home.connection is not None:
            self._home.connection.session.missed()

    async def _await_decisive(self) -> None:
        """Waits for the answer to the last decisive outcome, as `execute` does, once for each."""
        home, guard = self._home, self._guard
        told = guard.awaited
        if told is None:
            return
        if not told.done():
            if not home.link.usable or home.is_closed or not home.settings.report_timeout:
                return
            await self._wait_for(told)
        if guard.awaited is told:
            guard.awaited = None


class Permit:
    """Leave for one call. Reported once; left without a report it is `cancelled`.

    In an `async with` an error is classified as `execute` does it, and none is a success, unless it was reported
    before.
    """

    __slots__ = ("__weakref__", "_breaker", "_start", "_yes", "source")

    def __init__(self, breaker: Breaker, yes: Yes) -> None:
        self._breaker = breaker
        self._yes: Yes | None = yes
        self._start = breaker._home.clock()
        #: Who permitted it: `cached`, `server`, `local` or `unavailable`.
        self.source = yes.source

    async def success(self) -> None:
        """The dependency answered as it should."""
        await self.report("success")

    async def failure(self, error_class: str = "") -> None:
        """The dependency failed."""
        await self.report("failure", error_class=error_class)

    async def timeout(self) -> None:
        """The dependency did not answer in time."""
        await self.report("timeout")

    async def ignored(self) -> None:
        """The call says nothing about the dependency."""
        await self.report("ignored")

    async def cancelled(self) -> None:
        """The call was never finished."""
        await self.report("cancelled")

    async def report(
        self,
        outcome: Outcome,
        *,
        duration: Duration | None = None,
        error_class: str = "",
        retry_after: Duration = 0.0,
        local: bool = False,
    ) -> None:
        """How the call went. Waits for the answer to a failure and of a probe, as `execute` does.

        Reporting twice does nothing.
        """
        await self._breaker._wait_for(self._settle(Verdict(outcome, error_class, retry_after, local), duration))

    def _settle(self, verdict: Verdict, duration: Duration | None) -> Future[None] | None:
        yes, self._yes = self._yes, None
        if yes is None:
            return None
        took = self._breaker._home.clock() - self._start if duration is None else as_seconds(duration)
        return self._breaker.tell(yes, verdict, took)

    async def __aenter__(self) -> Permit:
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if self._yes is None:
            return
        verdict = judge(self._breaker._options.classify, None, error) if error else Verdict("success")
        told = self._settle(verdict, None)
        if error is None or isinstance(error, Exception):
            await self._breaker._wait_for(told)

    def __del__(self) -> None:
        yes = getattr(self, "_yes", None)
        if yes is not None:
            loop = self._breaker._home._loop
            if loop is not None and not loop.is_closed():
                loop.call_soon_threadsafe(self._breaker.tell, yes, Verdict("cancelled"), 0.0)


async def _within(timeout: float, call: Awaitable[T]) -> T:
    """The call's result, or `CallTimeoutError` when this time, and not one of the call's own, is up."""
    task = asyncio.ensure_future(call)
    try:
        done, _ = await asyncio.wait((task,), timeout=timeout)
    except asyncio.CancelledError:
        task.cancel()
        with contextlib.suppress(BaseException):
            await task
        raise
    if done:
        return task.result()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
    raise CallTimeoutError(f"the call took longer than {timeout:g} s")


async def _fall_back(options: BreakerOptions, error: Exception) -> Any:
    if options.fallback is None:
        raise error
    answer = options.fallback(error)
    return await answer if asyncio.iscoroutine(answer) else answer


async def _logged(work: Any) -> None:
    try:
        await work
    except Exception:
        log.exception("a listener has failed")
