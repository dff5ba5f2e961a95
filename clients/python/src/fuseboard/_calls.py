"""What the sync and the asyncio client have in common about one breaker: options, classifying, permits, numbers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fuseboard._guard import Guard, Link, No, Yes
from fuseboard._link import Connection
from fuseboard._session import Report
from fuseboard._wire import has_window_rule, local_rule
from fuseboard.errors import RejectedError
from fuseboard.options import Classify, Duration, Outcome, Policy, Settings, Verdict, as_seconds
from fuseboard.v1 import breaker_service_pb2 as pb
from fuseboard.v1 import policy_pb2

if TYPE_CHECKING:
    from fuseboard.events import Event

log = logging.getLogger("fuseboard")

ERROR_CLASS_BYTES_MAX = 64

_SUCCESS = Verdict("success")
_IGNORED = Verdict("ignored")
_CANCELLED = Verdict("cancelled")


def classify_by_error(error: BaseException | None) -> Verdict:
    """Where no classifier is given: any error is a failure, a timeout is a timeout, and being cancelled is that."""
    if error is None:
        return _SUCCESS
    if isinstance(error, (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)):
        return _CANCELLED
    outcome: Outcome = "timeout" if isinstance(error, TimeoutError | asyncio.TimeoutError) else "failure"
    return Verdict(outcome, type(error).__name__)


def judge(classify: Classify | None, result: Any, error: BaseException | None) -> Verdict:
    """What a call's end means. A classifier that fails itself does not take the permit with it."""
    if classify is None or (error is not None and not isinstance(error, Exception)):
        return classify_by_error(error)
    try:
        said = classify(result, error)
        verdict = said if isinstance(said, Verdict) else Verdict(said)
        as_seconds(verdict.retry_after)
    except Exception:
        log.exception("the classifier has failed")
        return classify_by_error(error) if error is not None else _IGNORED
    return verdict


def printable(text: str) -> str:
    """An error class that the server takes."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:ERROR_CLASS_BYTES_MAX])


@dataclass
class BreakerOptions:
    """One breaker's options, checked."""

    call_timeout: float | None = None
    classify: Classify | None = None
    fallback: Callable[..., Any] | None = None


@dataclass(frozen=True)
class Stats:
    """A client's own numbers, since it was made."""

    #: Calls permitted, by who decided: `cached`, `server`, `local`, `unavailable`.
    permits: dict[str, int] = field(default_factory=dict)
    #: Calls rejected, the same.
    rejections: dict[str, int] = field(default_factory=dict)
    #: Outcomes that the server has acknowledged.
    reported: int = 0
    #: Outcomes that were lost.
    dropped_reports: int = 0
    #: Rejections of this process that the server was not told of.
    dropped_rejections: int = 0
    #: Outcomes of calls that the server did not know of, and was not told of.
    unreported: int = 0
    #: Outcomes that the server found to be of an older generation.
    stale_reports: int = 0
    #: Times the session or the watch had to be opened again.
    reconnects: int = 0
    #: Times that events were lost.
    resyncs: int = 0
    #: Seconds since the watch said something. `inf`: never.
    staleness: float = 0.0
    #: The session answers in time.
    usable: bool = False


class Guarded:
    """One breaker and where its outcomes go; the sync and the asyncio breaker add how one waits."""

    __slots__ = ("_guard", "_home", "_options", "key")

    def __init__(self, home: Home, guard: Guard, options: BreakerOptions) -> None:
        self._home = home
        self._guard = guard
        self._options = options
        #: Key of the breaker.
        self.key = guard.key

    def rejected(self, no: No) -> RejectedError:
        return RejectedError(self.key, no.reason, no.retry_after, no.state, no.source)

    def view(self) -> dict[str, Any] | None:
        """What is known of the breaker, read from memory: `state`, `generation`, `caller_state`, `override`, `fresh`.

        `None`: nothing is.
        """
        view = self._guard.view
        if view is None:
            return None
        return {
            "state": view.state,
            "generation": view.generation,
            "caller_state": view.caller_state,
            "override": view.override,
            "fresh": self._guard.fresh(self._home.clock()),
        }

    def tell(self, yes: Yes, verdict: Verdict, duration: float) -> Future[None] | None:
        """Takes a call's outcome and starts the telling; what comes back can be waited for."""
        home = self._home
        if yes.source == "server":
            return self._report(yes, verdict, duration)
        told = self._guard.settle(
            yes,
            verdict.outcome,
            home.clock(),
            duration=duration,
            local=verdict.local,
            retry_after=as_seconds(verdict.retry_after),
        )
        if yes.view is None:
            home.count_unreported()
        if told is not None:
            home.on_loop(lambda connection: connection.session.tell(self._guard, at_once=True, future=told))
        return told

    def _report(self, yes: Yes, verdict: Verdict, duration: float) -> Future[None] | None:
        if self._home.link.closed:
            self._home.count_lost()
            return None
        awaited = self._home.link.usable and (yes.is_probe or verdict.outcome in ("failure", "timeout"))
        told: Future[None] = Future()
        seen = "ignored" if verdict.local else verdict.outcome
        self._guard.await_report(yes, seen, self._home.clock(), told)
        expires = time.monotonic() + yes.lease
        checked = Verdict(verdict.outcome, printable(verdict.error_class), verdict.retry_after, verdict.local)
        report = Report(self._guard, yes.permit, checked, duration, expires, told)
        self._home.on_loop(lambda connection: connection.session.report(report))
        return told if awaited else None


class Home:
    """A client's part that its breakers need: the clock, the link, and the way onto the event loop."""

    guard_type: type[Guard] = Guard

    def __init__(self, settings: Settings, clock: Callable[[], float] | None) -> None:
        self.settings = settings
        self.clock = clock or time.monotonic
        self.link = Link()
        self.guards: dict[str, Guard] = {}
        self.connection: Connection | None = None
        self.is_closed = False
        self._unreported = 0
        self._lost_at_end = 0

    def on_loop(self, work: Callable[[Connection], None]) -> None:
        """Runs something on the event loop, soon. After the end it is not run."""
        raise NotImplementedError

    def new_connection(self, on_event: Callable[[Event], None]) -> None:
        """Connects, on the event loop that this is called on, for all breakers that there are."""
        self.connection = Connection(self.settings, self.link, self.clock, on_event)
        for guard in self.guards.values():
            self.connection.add(guard)

    def _noted(self, guard: Guard) -> None:
        self.on_loop(lambda connection: connection.session.tell(guard, at_once=False))

    def count_unreported(self) -> None:
        self._unreported += 1

    def count_lost(self) -> None:
        self._lost_at_end += 1

    def new_guard(
        self,
        key: str,
        policy: Policy | policy_pb2.Policy | None,
        revision: int,
        mode: str | None,
        when_unavailable: str | None,
    ) -> Guard:
        settings = self.settings
        guard = self.guard_type(
            key,
            self.link,
            mode=mode or settings.mode,  # type: ignore[arg-type]
            when_unavailable=when_unavailable or settings.when_unavailable,  # type: ignore[arg-type]
            max_staleness=settings.max_staleness,
            report_interval=settings.report_interval,
        )
        guard.note = self._noted
        if policy is not None:
            message = policy.to_pb() if isinstance(policy, Policy) else policy
            guard.declared = pb.Declaration(breaker=key, policy=message, revision=revision)
            guard.rule, guard.suspects = local_rule(message), has_window_rule(message)
        return guard

    def stats(self) -> Stats:
        permits: dict[str, int] = {}
        rejections: dict[str, int] = {}
        dropped, dropped_rejections = self._lost_at_end, 0
        now = self.clock()
        for guard in list(self.guards.values()):
            guard.expire(now)
            for source, count in list(guard.permits.items()):
                permits[source] = permits.get(source, 0) + count
            for source, count in list(guard.rejections.items()):
                rejections[source] = rejections.get(source, 0) + count
            dropped += guard.dropped
            dropped_rejections += guard.dropped_rejections
        connection = self.connection
        if connection is None:
            return Stats(
                permits,
                rejections,
                dropped_reports=dropped,
                dropped_rejections=dropped_rejections,
                unreported=self._unreported,
                staleness=float("inf"),
            )
        session, watch = connection.session, connection.watch
        return Stats(
            permits,
            rejections,
            reported=session.reported,
            dropped_reports=dropped + session.dropped,
            dropped_rejections=dropped_rejections + session.dropped_rejections,
            unreported=self._unreported,
            stale_reports=session.stale,
            reconnects=session.reconnects + watch.reconnects,
            resyncs=watch.resyncs,
            staleness=now - self.link.heard_at,
            usable=self.link.usable,
        )


def checked_options(
    call_timeout: Duration | None, classify: Classify | None, fallback: Callable[..., Any] | None
) -> BreakerOptions:
    timeout = None if call_timeout is None else as_seconds(call_timeout)
    if timeout is not None and timeout <= 0:
        raise ValueError(f"call_timeout is {timeout:g} s: say more than 0, or None")
    return BreakerOptions(timeout, classify, fallback)
