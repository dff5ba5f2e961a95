"""One breaker as a client keeps it: the view, the tally, the local breaker, and how they decide.

No I/O and no clock: `now` is an argument. Calls of many threads come here at once; a lock is held for the few steps
that change something, and never while anything is waited for.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fuseboard._local import LocalBreaker, LocalRejection, LocalRule
from fuseboard._tally import COUNT_MAX, Tally
from fuseboard._view import View
from fuseboard.v1 import breaker_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable

Mode = Literal["cached", "strict"]
WhenUnavailable = Literal["local", "permit", "reject"]
Source = Literal["cached", "server", "local", "unavailable"]

# A tally that could not be sent for so long, once it was due, is dropped.
TALLY_AGE_MAX_S = 10.0
# Tallies of earlier generations that wait to be sent with the next batch.
EARLIER_MAX = 8


class Link:
    """What the decisions have to know of the connection. The part that connects keeps it true."""

    __slots__ = ("closed", "heard_at", "usable")

    def __init__(self) -> None:
        # When a watch last said something.
        self.heard_at = float("-inf")
        # The session answers in time.
        self.usable = False
        # The client was closed: nothing is believed and nothing told any more.
        self.closed = False


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
    # Where it was decided here: the generations it is tallied under.
    view: View | None = None
    # Where the local breaker permitted it.
    local: LocalBreaker | None = None
    local_permit: int = 0
    # Where the server permitted it.
    permit: bytes = b""
    lease: float = 0.0
    is_probe: bool = False


# Nothing is known here that decides.
ASK = None


class Guard:
    """One breaker's memory in a client."""

    __slots__ = (
        "_earlier",
        "_local",
        "_lock",
        "_max_staleness",
        "_tally",
        "_tally_age_max",
        "_yes",
        "covered",
        "declared",
        "dropped",
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
        self._tally: Tally | None = None
        self._earlier: list[Tally] = []
        # The same answer for every call that this view permits.
        self._yes = Yes("cached")
        # Something waits to be sent, and `note` was called for it.
        self.noted = False
        self.note: Callable[[Guard], None] | None = None
        # Decisions, by source. Counted under the lock.
        self.permits: Counter[str] = Counter()
        self.rejections: Counter[str] = Counter()
        self.dropped = 0
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
            return Yes("unavailable")
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
        return Yes(source, view, local, answer)

    def counted(self, source: Source, *, permitted: bool) -> None:
        """One more decision of this source."""
        with self._lock:
            (self.permits if permitted else self.rejections)[source] += 1

    def _stand_in_of(self, now: float) -> LocalBreaker:
        local = self._local
        if local is None:
            view = self.view
            state, until = (view.state, view.open_until) if view else ("closed", 0.0)
            local = self._local = LocalBreaker.standing(self.rule, state, until, now)
        return local

    def forget_local(self) -> None:
        """The server decides again, or was told to reset."""
        with self._lock:
            self._local = None

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
    ) -> bool:
        """Takes the outcome of a call that was decided here. True: it is to be told at once."""
        with self._lock:
            seen = "ignored" if local else outcome
            if yes.local is not None:
                yes.local.report(yes.local_permit, seen, now)
            elif yes.view is not None and not self.link.usable and self.when_unavailable == "local":
                self._stand_in_of(now).observe(seen, now)
            if yes.view is None:
                return False
            if self.link.closed:
                self.dropped += 1
                return False
            tally = self._current(yes.view, now)
            slow = 0 < self.slow_after <= duration
            tally.add(outcome, slow=slow, local=local, retry_after=retry_after)
        self._note()
        return outcome in ("failure", "timeout")

    def _current(self, view: View, now: float) -> Tally:
        tally = self._tally
        if tally is not None:
            is_same = (tally.generation, tally.caller_generation) == (view.generation, view.caller_generation)
            if is_same and tally.calls < COUNT_MAX:
                return tally
            self._earlier.append(tally)
            if len(self._earlier) > EARLIER_MAX:
                self.dropped += self._earlier.pop(0).calls
        tally = self._tally = Tally(view.generation, view.caller_generation, now)
        return tally

    def _note(self) -> None:
        if not self.noted and self.note is not None:
            self.noted = True
            self.note(self)

    def take(self, now: float) -> list[Tally]:
        """What waits to be told, oldest first; too old ones are dropped and counted."""
        with self._lock:
            tallies, self._earlier = self._earlier, []
            if self._tally is not None:
                tallies.append(self._tally)
            self._tally = None
            self.noted = False
        kept = [tally for tally in tallies if now - tally.since <= self._tally_age_max]
        self.dropped += sum(tally.calls for tally in tallies) - sum(tally.calls for tally in kept)
        return kept

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

    def expire(self, now: float) -> None:
        """Drops tallies that have got too old, and counts them."""
        with self._lock:
            if self._tally is not None and now - self._tally.since > self._tally_age_max:
                self._earlier.append(self._tally)
                self._tally = None
            while self._earlier and now - self._earlier[0].since > self._tally_age_max:
                self.dropped += self._earlier.pop(0).calls
