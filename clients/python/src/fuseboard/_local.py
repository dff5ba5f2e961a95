"""The breaker that stands in while the server cannot be asked. Pure: `now` is an argument.

One rule, the same in the clients of all languages: so many failures in a row, all young enough, open it; after the open
period one probe decides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

FAILURE_THRESHOLD = 5
OPEN_DURATION_S = 30.0
# A probe that nobody reported for so long counts as a failure.
PROBE_LEASE_S = 60.0
# What a caller is told to wait while the probe is out.
PROBE_RETRY_AFTER_S = 1.0
RETRY_AFTER_MIN_S = 0.01


@dataclass(frozen=True, slots=True)
class LocalRule:
    """What opens the local breaker, in seconds; taken from the policy in force."""

    failure_threshold: int = FAILURE_THRESHOLD
    # 0: failures in a row never get too old.
    monitoring_period: float = 0.0
    open_duration: float = OPEN_DURATION_S


@dataclass(frozen=True, slots=True)
class LocalRejection:
    """The local breaker's no."""

    reason: str
    retry_after: float
    state: str


class Run:
    """When the last failures without a success in between happened, oldest first: as many as open a breaker."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at: deque[float] = deque()

    def __iter__(self) -> Iterator[float]:
        return iter(self.at)

    def add(self, now: float, rule: LocalRule) -> None:
        """One more failure."""
        self.at.append(now)
        while len(self.at) > rule.failure_threshold:
            self.at.popleft()

    def clear(self) -> None:
        """Empties it."""
        self.at.clear()

    def reaches(self, rule: LocalRule) -> bool:
        """Whether it is as long as the threshold."""
        return len(self.at) >= rule.failure_threshold

    def tripped_at(self, rule: LocalRule) -> float | None:
        """When it opened a breaker: with its last failure, where it is long and young enough."""
        if not self.reaches(rule):
            return None
        is_young = not rule.monitoring_period or self.at[-1] - self.at[-rule.failure_threshold] < rule.monitoring_period
        return self.at[-1] if is_young else None


class LocalBreaker:
    """Closed, open or half-open, by what this process sees itself.

    A permit is the number of the stretch it was given in: every move begins another, and an outcome of an earlier one
    moves nothing.
    """

    __slots__ = ("_failures", "_open_until", "_probe_since", "_rule", "_state", "_stretch")

    def __init__(self, rule: LocalRule) -> None:
        self._rule = rule
        self._stretch = 0
        self._state = "closed"
        self._failures = Run()
        self._open_until = 0.0
        self._probe_since: float | None = None

    @classmethod
    def standing(
        cls, rule: LocalRule, state: str, open_until: float, now: float, run: Iterable[float] = ()
    ) -> LocalBreaker:
        """One that starts where the breaker was last known to stand: a closed one with the failures of the run."""
        local = cls(rule)
        if state == "open" and open_until > now:
            local._state, local._open_until = "open", open_until
        elif state in ("open", "half_open"):
            local._state = "half_open"
        else:
            for at in run:
                local._failures.add(at, rule)
            tripped_at = local._failures.tripped_at(rule)
            if tripped_at is not None:
                local._open(tripped_at)
        return local

    @property
    def is_closed(self) -> bool:
        """Whether it permits every call."""
        return self._state == "closed"

    def acquire(self, now: float) -> int | LocalRejection:
        """A permit, or why not."""
        self._pass_time(now)
        if self._state == "closed":
            return self._stretch
        if self._state == "open":
            return LocalRejection("open", max(self._open_until - now, RETRY_AFTER_MIN_S), "open")
        if self._probe_since is not None:
            return LocalRejection("half_open_full", PROBE_RETRY_AFTER_S, "half_open")
        self._probe_since = now
        return self._stretch

    def report(self, permit: int, outcome: str, now: float) -> None:
        """How a permitted call went. `outcome` is `ignored` also for a failure of the caller's own making."""
        self._pass_time(now)
        if permit != self._stretch:
            return
        failed = outcome in ("failure", "timeout")
        if self._state == "half_open":
            if failed:
                self._open(now)
            elif outcome == "success":
                self._move("closed")
            else:
                self._probe_since = None
        elif self._state == "closed":
            self.observe(outcome, now)

    def observe(self, outcome: str, now: float) -> None:
        """How a call went that had no permit of this breaker."""
        if self._state != "closed":
            return
        if outcome == "success":
            self._failures.clear()
        elif outcome in ("failure", "timeout"):
            self._failures.add(now, self._rule)
            if self._failures.tripped_at(self._rule) is not None:
                self._open(now)

    def _pass_time(self, now: float) -> None:
        if self._state == "open" and now >= self._open_until:
            self._move("half_open")
        elif self._state == "half_open" and self._probe_since is not None and now - self._probe_since >= PROBE_LEASE_S:
            self._open(self._probe_since + PROBE_LEASE_S)
            self._pass_time(now)

    def _open(self, now: float) -> None:
        self._move("open")
        self._open_until = now + self._rule.open_duration

    def _move(self, state: str) -> None:
        self._state = state
        self._stretch += 1
        self._failures.clear()
        self._probe_since = None
