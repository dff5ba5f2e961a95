"""The breaker that stands in while the server cannot be asked. Pure: `now` is an argument.

One rule, the same in the clients of all languages: so many failures in a row, all young enough, open it; after the open
period one probe decides.
"""

from __future__ import annotations

from collections import deque
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
        self._failures: deque[float] = deque(maxlen=rule.failure_threshold)
        self._open_until = 0.0
        self._probe_since: float | None = None

    @classmethod
    def standing(cls, rule: LocalRule, state: str, open_until: float, now: float) -> LocalBreaker:
        """One that starts where the breaker was last known to stand."""
        local = cls(rule)
        if state == "open" and open_until > now:
            local._state, local._open_until = "open", open_until
        elif state in ("open", "half_open"):
            local._state = "half_open"
        return local

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
            self._failures.append(now)
            period = self._rule.monitoring_period
            if len(self._failures) == self._rule.failure_threshold and (not period or now - self._failures[0] < period):
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
