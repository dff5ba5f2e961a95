"""The client for programs with threads. Its connection lives on one background thread, shared by all of them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import logging
import os
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar, cast

from fuseboard._calls import BreakerOptions, Guarded, Home, checked_options, judge
from fuseboard._guard import Mode, No, WhenUnavailable, Yes
from fuseboard._link import UNARY_S, Connection
from fuseboard.errors import FuseboardError
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

# Events that wait for a listener or an iterator; beyond, the oldest are dropped and a resync says how many.
EVENTS_MAX = 1_000


class Client(Home):
    """Protects calls by breakers that a Fuseboard server keeps for a whole fleet.

    It connects with its first call, in the background. All of it may be used from any thread. The child of a fork
    makes a connection of its own with its first call.
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
        self._lock = threading.Lock()
        self._breakers: dict[str, Breaker] = {}
        self._listeners: list[Callable[[Event], None]] = []
        self._feeds: weakref.WeakSet[Feed] = weakref.WeakSet()
        self._loop: asyncio.AbstractEventLoop | None = None
        _clients.add(self)

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

        `call_timeout` cannot stop a call of a thread: one that took longer is reported as `timeout`, and its result
        stands.
        `fallback` gets the error.

        :raises ValueError: for a bad key or option, and for more than 1,000 breakers.
        """
        options = checked_options(call_timeout, classify, fallback)
        with self._lock:
            known = self._breakers.get(key)
            if known is not None:
                return known
            if len(self._breakers) >= BREAKERS_MAX:
                raise ValueError(f"a client has at most {BREAKERS_MAX} breakers: is there an id in the key {key!r}?")
            guard = self.new_guard(check_key(key), policy, revision, mode, when_unavailable)
            self.guards[key] = guard
            breaker = self._breakers[key] = Breaker(self, guard, options)
        if self._loop is not None:
            self.on_loop(lambda connection: connection.add(guard))
        return breaker

    def ready(self, timeout: Duration = 5.0) -> bool:
        """Waits until breakers are decided from memory. False where that takes longer."""
        try:
            self._wait(lambda connection: connection.ready(), as_seconds(timeout))
        except (TimeoutError, concurrent.futures.TimeoutError):
            return False
        return True

    def on_event(self, listener: Callable[[Event], None]) -> None:
        """Calls the listener for each event of this client's breakers, on a thread for listeners.

        What it raises is logged. One that is slow holds back the others, and nothing else.
        """
        with self._lock:
            if not self._listeners:
                threading.Thread(target=self._listen, args=(Feed(self),), name="fuseboard-events", daemon=True).start()
            self._listeners.append(listener)

    def events(self) -> Iterator[Event]:
        """The events of this client's breakers from now on, until it is closed."""
        return Feed(self)

    def close(self) -> None:
        """Sends what waits, within `close_timeout`, and ends the connection.

        Calls after it are decided without a server.
        """
        with self._lock:
            if self.is_closed:
                return
            self.is_closed = True
            connection, loop = self.connection, self._loop
        if connection is not None and loop is not None:
            done = asyncio.run_coroutine_threadsafe(connection.close(), loop)
            try:
                done.result(self.settings.close_timeout + UNARY_S)
            except concurrent.futures.TimeoutError:
                log.error("the connection has not ended in time")
        self.link.usable, self.link.closed = False, True
        for feed in list(self._feeds):
            feed.put(None)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def on_loop(self, work: Callable[[Connection], None]) -> None:
        loop = self._connected()
        if loop is not None:
            loop.call_soon_threadsafe(self._run, work)

    def _run(self, work: Callable[[Connection], None]) -> None:
        if self.connection is not None:
            work(self.connection)

    def _connected(self) -> asyncio.AbstractEventLoop | None:
        """The loop of the connection, which is made here where there is none; nothing after the end."""
        if self._loop is None:
            with self._lock:
                if self._loop is None and not self.is_closed:
                    self._loop = _background()
                    self._loop.call_soon_threadsafe(self.new_connection, self._heard)
        return None if self.is_closed else self._loop

    def _wait(self, work: Callable[[Connection], Any], timeout: float) -> Any:
        loop = self._connected()
        if loop is None:
            raise FuseboardError("the client is closed")

        async def run() -> Any:
            assert self.connection is not None
            return await work(self.connection)

        future = asyncio.run_coroutine_threadsafe(run(), loop)
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise

    def _heard(self, event: Event) -> None:
        for feed in list(self._feeds):
            feed.put(event)

    def _listen(self, feed: Feed) -> None:
        for event in feed:
            for listener in list(self._listeners):
                try:
                    listener(event)
                except Exception:
                    log.exception("a listener has failed")

    def forked(self) -> None:
        """In the child of a fork: nothing of the parent's connection is of use. The next call makes another."""
        self._lock = threading.Lock()
        self._loop = self.connection = None
        self.link.usable, self.link.heard_at = False, float("-inf")
        self.settings = replace(self.settings, client_id=os.urandom(16).hex())


class Breaker(Guarded):
    """One breaker. Get it from a client once, and keep it."""

    __slots__ = ()
    _home: Client

    def execute(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Makes the call if the breaker permits it, and reports how it went.

        :raises RejectedError: where it was rejected and there is no fallback.

        What the call raises comes back untouched.
        """
        return self._execute(self._options, call, args, kwargs)

    def __call__(self, call: Callable[P, T]) -> Callable[P, T]:
        """As a decorator: `@payments`."""
        return self.protect()(call)

    def protect(
        self,
        *,
        call_timeout: Duration | None = None,
        classify: Classify | None = None,
        fallback: Callable[..., Any] | None = None,
    ) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """A decorator with options of its own: `@payments.protect(fallback=...)`. Those left out are the breaker's."""
        mine = checked_options(call_timeout, classify, fallback)
        options = BreakerOptions(
            mine.call_timeout or self._options.call_timeout,
            mine.classify or self._options.classify,
            mine.fallback or self._options.fallback,
        )

        def decorate(call: Callable[P, T]) -> Callable[P, T]:
            @functools.wraps(call)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
                return self._execute(options, call, args, kwargs)

            return guarded

        return decorate

    def _execute(self, options: BreakerOptions, call: Callable[..., T], args: Any, kwargs: Any) -> T:
        home = self._home
        clock = home.clock
        if self._guard.awaited is not None:
            self._await_decisive()
        start = clock()
        decision = self._guard.decide(start)
        if decision is None:
            decision = self._ask()
            start = clock()
        if isinstance(decision, No):
            return cast("T", _fall_back(options, self.rejected(decision)))
        try:
            result = call(*args, **kwargs)
        except BaseException as error:
            verdict = judge(options.classify, None, error)
            self.tell_and_wait(decision, verdict, clock() - start)
            if options.fallback is None or not isinstance(error, Exception):
                raise
            return cast("T", _fall_back(options, error))
        now = clock()
        took = now - start
        late = options.call_timeout is not None and took > options.call_timeout
        if options.classify is None and decision.source == "cached" and not late:
            self._guard.settle(decision, "success", now, duration=took)
            return result
        verdict = judge(options.classify, result, None)
        if late and verdict.outcome == "success":
            verdict = Verdict("timeout", "call_timeout")
        self.tell_and_wait(decision, verdict, took)
        return result

    def acquire(self) -> Permit:
        """Leave for one call, to be reported by hand. Use it in a `with`.

        :raises RejectedError: where the call is rejected.
        """
        if self._guard.awaited is not None:
            self._await_decisive()
        decision = self._guard.decide(self._home.clock())
        if decision is None:
            decision = self._ask()
        if isinstance(decision, No):
            raise self.rejected(decision)
        return Permit(self, decision)

    #: The same, as it reads in a `with`.
    permit = acquire

    def state(self) -> breaker_service_pb2.GetStateResponse:
        """All about the breaker, asked from the server.

        :raises BreakerNotFoundError: where the server has never seen it.
        :raises ServerError: where the server cannot answer.
        """
        answer: breaker_service_pb2.GetStateResponse = self._home._wait(
            lambda connection: connection.state(self.key), UNARY_S + 1
        )
        return answer

    def reset(self, reason: str = "", actor: str = "") -> None:
        """Closes the breaker, for all, with empty statistics.

        :raises BreakerNotFoundError: where the server has never seen it.
        :raises ServerError: where the server cannot do it. The local breaker is forgotten all the same.
        """
        self._guard.forget_run()
        self._home._wait(lambda connection: connection.reset(self.key, reason, actor), UNARY_S + 1)

    def declare(self, policy: Policy, revision: int) -> policy_pb2.PolicyInForce:
        """Declares another policy; what is in force comes back. State and statistics stay.

        :raises ServerError: where the server refuses it.
        """
        answer: policy_pb2.PolicyInForce = self._home._wait(
            lambda connection: connection.declare(self.key, policy.to_pb(), revision), UNARY_S + 1
        )
        return answer

    def _ask(self) -> Yes | No:
        home = self._home
        answer: Future[Yes | No | None] = Future()
        home.on_loop(lambda connection: connection.session.ask(self._guard, answer))
        decision: Yes | No | None = None
        if not home.is_closed:
            try:
                decision = answer.result(home.settings.acquire_timeout)
            except concurrent.futures.TimeoutError:
                if answer.cancel():
                    home.link.usable = False
                    home.on_loop(lambda connection: connection.session.missed())
                else:
                    decision = answer.result()
            except BaseException:
                if not answer.cancel() and isinstance(given := answer.result(), Yes):
                    home.on_loop(lambda connection: connection.session.give_back(self._guard, given))
                raise
        return decision or self._guard.without_server(home.clock())

    def _await_decisive(self) -> None:
        """Waits for the answer to the last decisive outcome, as `execute` does, once for each."""
        home, guard = self._home, self._guard
        told = guard.awaited
        if told is None:
            return
        if not told.done():
            if not home.link.usable or home.is_closed or not home.settings.report_timeout:
                return
            self._wait_until_told(told)
        if guard.awaited is told:
            guard.awaited = None

    def tell_and_wait(self, yes: Yes, verdict: Verdict, duration: float) -> None:
        """Takes a call's outcome, and waits for its answer where that matters, at most `report_timeout`."""
        told = self.tell(yes, verdict, duration)
        if told is not None and not self._home.is_closed:
            self._wait_until_told(told)

    def _wait_until_told(self, told: Future[None]) -> None:
        home = self._home
        try:
            told.result(home.settings.report_timeout)
        except concurrent.futures.TimeoutError:
            home.link.usable = False
            home.on_loop(lambda connection: connection.session.missed())


class Permit:
    """Leave for one call. Reported once; left without a report it is `cancelled`.

    In a `with` an error is classified as `execute` does it, and none is a success, unless it was reported before.
    """

    __slots__ = ("__weakref__", "_breaker", "_finalizer", "_start", "_yes", "source")

    def __init__(self, breaker: Breaker, yes: Yes) -> None:
        self._breaker = breaker
        self._yes: Yes | None = yes
        self._start = breaker._home.clock()
        #: Who permitted it: `cached`, `server`, `local` or `unavailable`.
        self.source = yes.source

    def success(self) -> None:
        """The dependency answered as it should."""
        self.report("success")

    def failure(self, error_class: str = "") -> None:
        """The dependency failed."""
        self.report("failure", error_class=error_class)

    def timeout(self) -> None:
        """The dependency did not answer in time."""
        self.report("timeout")

    def ignored(self) -> None:
        """The call says nothing about the dependency."""
        self.report("ignored")

    def cancelled(self) -> None:
        """The call was never finished."""
        self.report("cancelled")

    def report(
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
        yes, self._yes = self._yes, None
        if yes is not None:
            took = self._breaker._home.clock() - self._start if duration is None else as_seconds(duration)
            verdict = Verdict(outcome, error_class, retry_after, local)
            self._breaker.tell_and_wait(yes, verdict, took)

    def __enter__(self) -> Permit:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if self._yes is not None:
            verdict = judge(self._breaker._options.classify, None, error) if error else Verdict("success")
            self.report(
                verdict.outcome,
                error_class=verdict.error_class,
                retry_after=verdict.retry_after,
                local=verdict.local,
            )

    def __del__(self) -> None:
        yes = getattr(self, "_yes", None)
        if yes is not None:
            self._breaker.tell(yes, Verdict("cancelled"), 0.0)


class Feed(Iterator[Event]):
    """A client's events, one after the other. It waits for the next."""

    def __init__(self, client: Client) -> None:
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._lost = 0
        client._feeds.add(self)

    def put(self, event: Event | None) -> None:
        if event is not None and self._queue.qsize() >= EVENTS_MAX:
            self._lost += 1
            return
        if self._lost and event is not None:
            lost, self._lost = self._lost, 0
            self._queue.put(Event("resync", reason="slow_listener", lost=lost))
        self._queue.put(event)

    def __next__(self) -> Event:
        event = self._queue.get()
        if event is None:
            self._queue.put(None)
            raise StopIteration
        return event


_loops: list[asyncio.AbstractEventLoop] = []
_loops_lock = threading.Lock()
_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def _background() -> asyncio.AbstractEventLoop:
    """The event loop of all clients of this kind, on a thread of its own that does not keep the process alive."""
    with _loops_lock:
        if not _loops:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="fuseboard", daemon=True).start()
            _loops.append(loop)
        return _loops[0]


def _forked() -> None:
    global _loops_lock
    _loops_lock = threading.Lock()
    _loops.clear()
    for client in list(_clients):
        client.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _fall_back(options: BreakerOptions, error: Exception) -> Any:
    if options.fallback is None:
        raise error
    return options.fallback(error)
