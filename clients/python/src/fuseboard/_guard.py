"""One breaker as a client keeps it: the view, the tally, the local breaker, and how they decide.

No I/O and no clock: `now` is an argument. Calls of many threads come here at once; a lock is held for the few steps
that change something, and never while anything is waited for.
"""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fuseboard._local import LocalBreaker, LocalRejection, LocalRule, Run
from fuseboard._tally import COUNT_MAX, TALLY_BYTES, Budget, Tally
from fuseboard._view import View
from fuseboard.v1 import breaker_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

Mode = Literal["cached", "strict"]
WhenUnavailable = Literal["local", "permit", "reject"]
Source = Literal["cached", "server", "local", "unavailable"]

# A tally that could not be sent for so long, once it was due, is dropped.
TALLY_AGE_MAX_S = 10.0


class Link:
    """What the decisions have to know of the connection. The part that connects keeps it true."""

    __slots__ = ("budget", "closed", "heard_at", "usable")

    def __init__(self) -> None:
        # When a watch last said something.
        self.heard_at = float("-inf")
        # The session answers in time.
        self.usable = False
        # The client was closed: nothing is believed and nothing told any more.
        self.closed = False
        # The room for tallies that wait to be sent.
        self.budget = Budget()


@dataclass(frozen=True, slots=True)
class No:
    """A rejection: why, for how many seconds, in which state, and by whose word."""

    reason: str
    retry_after: float
    state: str | None
    source: Source


@dataclass(frozen=True, slots=True)
class Yes:
    """Leave for one call, and where its outcome goes."""

    source: Source
    # Where it was decided here and is told in a tally: the view, with the generations.
    view: View | None = None
    # Where the local breaker permitted it.
    local: LocalBreaker | None = None
    local_permit: int = 0
    # Where the server permitted it.
    permit: bytes = b""
    lease: float = 0.0
    is_probe: bool = False
    # The breaker's and the caller's, where there is no view.
    generations: tuple[int, int] = (0, 0)


# Nothing is known here that decides.
ASK = None


class Guard:
    """One breaker's memory in a client."""

    __slots__ = (
        "_full",
        "_local",
        "_lock",
        "_max_staleness",
        "_pending",
        "_run",
        "_run_generations",
        "_tally",
        "_tally_age_max",
        "_tally_bytes",
        "_yes",
        "awaited",
        "covered",
        "declared",
        "dropped",
        "dropped_rejections",
        "heard",
        "key",
        "link",
        "mode",
        "note",
        "noted",
        "permits",
        "rejections",
        "rule",
        "slow_after",
        "suspects",
        "view",
        "when_unavailable",
    )

    def __init__(
        self,
        key: str,
        link: Link,
        *,
        mode: Mode,
        when_unavailable: WhenUnavailable,
        max_staleness: float,
        report_interval: float = 0.1,
    ) -> None:
        self.key = key
        self.link = link
        self.mode: Mode = mode
        self.when_unavailable: WhenUnavailable = when_unavailable
        self._max_staleness = max_staleness
        self._tally_age_max = report_interval + TALLY_AGE_MAX_S
        self._lock = threading.Lock()
        # What is known. Replaced, never changed.
        self.view: View | None = None
        # A watch that names the breaker has spoken.
        self.covered = False
        # Sequence of the last event that a watch told of it.
        self.heard = 0
        self.rule = LocalRule()
        # Calls that take at least so many seconds are slow. 0: none is.
        self.slow_after = 0.0
        self._local: LocalBreaker | None = None
        # Any failure may trip it, as far as is known here.
        self.suspects = True
        # When the last failures in a row happened, under these generations.
        self._run = Run()
        self._run_generations = (0, 0)
        # Done with the answer to the last decisive outcome, which the next acquire waits for.
        self.awaited: Future[None] | None = None
        # What waits to be sent: a tally for each pair of generations, and full ones; and the one counted in last.
        self._pending: dict[tuple[int, int], Tally] = {}
        self._full: list[Tally] = []
        self._tally: Tally | None = None
        self._tally_bytes = TALLY_BYTES + len(key)
        # The same answer for every call that this view permits.
        self._yes = Yes("cached")
        # Something waits to be sent, and `note` was called for it.
        self.noted = False
        self.note: Callable[[Guard], None] | None = None
        # Decisions, by source. Counted under the lock.
        self.permits: Counter[str] = Counter()
        self.rejections: Counter[str] = Counter()
        self.dropped = 0
        self.dropped_rejections = 0
        # The declaration that is sent with each session, as its owner keeps it.
        self.declared: pb.Declaration | None = None

    # Deciding.

    def fresh(self, now: float) -> bool:
        """Whether what is known is recent enough to permit calls."""
        return self.covered and now - self.link.heard_at <= self._max_staleness

    def decide(self, now: float) -> Yes | No | None:
        """Permits, rejects, or `ASK`."""
        view = self.view
        if view is None or self.mode != "cached" or self.link.closed:
            return ASK
        if not (view.permits and self.covered and now - self.link.heard_at <= self._max_staleness):
            return self._refuse(view, now)
        if not self.link.usable and self.when_unavailable == "local":
            return self._stand_in(now, view)
        yes = self._yes
        if yes.view is not view:
            yes = self._yes = Yes("cached", view)
        with self._lock:
            self.permits["cached"] += 1
        return yes

    def _refuse(self, view: View, now: float) -> No | None:
        refused = view.rejects(now)
        if refused is None:
            return ASK
        with self._lock:
            self._current(view, now).rejections += 1
            self.rejections["cached"] += 1
        self._note()
        return No(refused[0], refused[1], view.state, "cached")

    def without_server(self, now: float, retry_after: float = 1.0) -> Yes | No:
        """The decision where the server cannot be asked."""
        if self.when_unavailable == "local":
            return self._stand_in(now, None)
        if self.when_unavailable == "permit":
            self.counted("unavailable", permitted=True)
            return Yes("unavailable", generations=self._generations())
        self.counted("unavailable", permitted=False)
        view = self.view
        return No("unavailable", retry_after, view.state if view else None, "unavailable")

    def _stand_in(self, now: float, view: View | None) -> Yes | No:
        with self._lock:
            local = self._stand_in_of(now)
            answer = local.acquire(now)
        if isinstance(answer, LocalRejection):
            self.counted("local", permitted=False)
            return No(answer.reason, answer.retry_after, answer.state, "local")
        source: Source = "cached" if view else "local"
        self.counted(source, permitted=True)
        return Yes(source, view, local, answer, generations=self._generations())

    def counted(self, source: Source, *, permitted: bool) -> None:
        """One more decision of this source."""
        with self._lock:
            (self.permits if permitted else self.rejections)[source] += 1

    def _stand_in_of(self, now: float) -> LocalBreaker:
        local = self._local
        if local is None:
            view = self.view
            state, until = (view.state, view.open_until) if view else ("closed", 0.0)
            local = self._local = LocalBreaker.standing(self.rule, state, until, now, self._own_run())
        return local

    def _generations(self) -> tuple[int, int]:
        view = self.view
        return (view.generation, view.caller_generation) if view else self._run_generations

    def _own_run(self) -> Run:
        """The run, emptied where the breaker or the caller has moved."""
        generations = self._generations()
        if generations != self._run_generations:
            self._run.clear()
            self._run_generations = generations
        return self._run

    def _is_old(self, yes: Yes) -> bool:
        view, known = yes.view, self._generations()
        generation, caller_generation = (view.generation, view.caller_generation) if view else yes.generations
        return generation < known[0] or caller_generation < known[1]

    def _record(self, yes: Yes, outcome: str, now: float) -> bool:
        """Takes an outcome into the run. True: the answer to it may be a trip."""
        if self._is_old(yes):
            return False
        run, is_decisive = self._own_run(), False
        if outcome == "success":
            run.clear()
        elif outcome in ("failure", "timeout"):
            run.add(now, self.rule)
            is_decisive = self.suspects or run.reaches(self.rule)
        if self._local is not None and not self._local.is_closed:
            run.clear()
        return is_decisive

    def await_pending(self, told: Future[None]) -> bool:
        """The next acquire waits for the failures that wait to be told, where there are any."""
        with self._lock:
            waits = any(tally.longest_run for tally in [*self._full, *self._pending.values()])
            if waits:
                self.awaited = told
        return waits

    def await_report(self, yes: Yes, outcome: str, now: float, told: Future[None]) -> None:
        """Takes the outcome of a call that the server permitted; where it is decisive the next acquire waits for it."""
        with self._lock:
            if self._record(yes, outcome, now) or yes.is_probe:
                self.awaited = told

    def forget_local(self) -> None:
        """The server decides again."""
        with self._lock:
            self._local = None

    def forget_run(self) -> None:
        """The server was told to reset."""
        with self._lock:
            self._local = None
            self._run.clear()

    # Outcomes.

    def settle(
        self,
        yes: Yes,
        outcome: str,
        now: float,
        *,
        duration: float = 0.0,
        local: bool = False,
        retry_after: float = 0.0,
    ) -> Future[None] | None:
        """Takes the outcome of a call that was decided here.

        A future: it is to be told at once, and the future is done when it was answered.
        """
        with self._lock:
            seen = "ignored" if local else outcome
            if yes.local is not None:
                yes.local.report(yes.local_permit, seen, now)
            elif yes.view is not None and not self.link.usable and self.when_unavailable == "local":
                local_breaker = self._stand_in_of(now)
                if not self._is_old(yes):
                    local_breaker.observe(seen, now)
            # A success ends the run: there is nothing to do where there is none.
            is_decisive = (seen != "success" or bool(self._run.at)) and self._record(yes, seen, now)
            if yes.view is None:
                return None
            if self.link.closed:
                self.dropped += 1
                return None
            tally = self._current(yes.view, now)
            slow = 0 < self.slow_after <= duration
            tally.add(outcome, slow=slow, local=local, retry_after=retry_after)
            at_once = outcome in ("failure", "timeout") and self.link.usable
            told: Future[None] | None = Future() if at_once else None
            if is_decisive and told:
                self.awaited = told
        self._note()
        return told

    def _current(self, view: View, now: float) -> Tally:
        """The tally of a view's generations. Where there is no room for another, the oldest is dropped."""
        tally = self._tally
        if (
            tally is not None
            and tally.generation == view.generation
            and tally.caller_generation == view.caller_generation
            and tally.calls < COUNT_MAX
            and tally.rejections < COUNT_MAX
        ):
            return tally
        generations = view.generation, view.caller_generation
        tally = self._pending.get(generations)
        if tally is not None and tally.is_full:
            self._full.append(self._pending.pop(generations))
            tally = None
        if tally is None:
            if (self._pending or self._full) and not self.link.budget.take(self._tally_bytes):
                self._drop(self._full.pop(0) if self._full else self._pending.pop(next(iter(self._pending))))
            tally = self._pending[generations] = Tally(*generations, now)
        self._tally = tally
        return tally

    def _drop(self, tally: Tally) -> None:
        self.dropped += tally.calls
        self.dropped_rejections += tally.rejections

    def _note(self) -> None:
        if not self.noted and self.note is not None:
            self.noted = True
            self.note(self)

    @property
    def has_pending(self) -> bool:
        """Something waits to be told."""
        return bool(self._pending or self._full)

    def take(self, now: float, most: int) -> list[Tally]:
        """What waits to be told, oldest first, at most so many; too old ones are dropped and counted."""
        with self._lock:
            tallies = [*self._full, *self._pending.values()]
            young = [tally for tally in tallies if now - tally.since <= self._tally_age_max]
            for tally in tallies:
                if now - tally.since > self._tally_age_max:
                    self._drop(tally)
            self._keep(young[most:], len(tallies))
            self.noted = self.has_pending
        return young[:most]

    def expire(self, now: float) -> None:
        """Drops tallies that have got too old, and counts them."""
        with self._lock:
            tallies = [*self._full, *self._pending.values()]
            young = [tally for tally in tallies if now - tally.since <= self._tally_age_max]
            if len(young) == len(tallies):
                return
            for tally in tallies:
                if now - tally.since > self._tally_age_max:
                    self._drop(tally)
            self._keep(young, len(tallies))

    def _keep(self, kept: list[Tally], before: int) -> None:
        """These wait on; the room of the others is free."""
        self._full = [tally for tally in kept if tally.is_full]
        self._pending = {(t.generation, t.caller_generation): t for t in kept if not t.is_full}
        self._tally = None
        self.link.budget.give_back((max(before - 1, 0) - max(len(kept) - 1, 0)) * self._tally_bytes)

    # What the server says.

    def learn(self, view: View) -> None:
        """What the server has told, unless something newer is known."""
        with self._lock:
            known = self.view
            if known is not None:
                if view.generation < known.generation:
                    return
                if view.caller_generation < known.caller_generation:
                    view = view._replace(
                        caller_state=known.caller_state,
                        caller_generation=known.caller_generation,
                        caller_until=known.caller_until,
                    )
            self.view = view

    def forget(self) -> None:
        """Nothing is known any more."""
        with self._lock:
            self.view = None
