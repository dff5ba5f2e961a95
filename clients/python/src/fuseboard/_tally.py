"""Calls that were decided here and not told yet. Pure."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from fuseboard.v1 import breaker_service_pb2 as pb

# The most that one count of a tally may say.
COUNT_MAX = 1_000_000
# What a pending tally counts as, besides its breaker's key.
TALLY_BYTES = 256
# A client's pending tallies beyond the one of each breaker that always has its place.
EXTRA_BYTES_MAX = 512 * 1024


class Budget:
    """The room that a client's pending tallies share, beyond the one of each breaker."""

    __slots__ = ("_lock", "used")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.used = 0

    def take(self, size: int) -> bool:
        """Whether there is room for so many bytes; they are then in use."""
        with self._lock:
            if self.used + size > EXTRA_BYTES_MAX:
                return False
            self.used += size
            return True

    def give_back(self, size: int) -> None:
        """So many bytes are free again."""
        with self._lock:
            self.used -= size


@dataclass(slots=True)
class Tally:
    """The calls to one breaker under one pair of generations."""

    generation: int
    caller_generation: int
    # When the first of them ended.
    since: float
    # Outcomes in it; rejections are none.
    calls: int = 0
    successes: int = 0
    failures: int = 0
    timeouts: int = 0
    slow: int = 0
    ignored: int = 0
    rejections: int = 0
    # Runs of failures and timeouts: before the first success, the longest without a success in between, and after the
    # last success.
    leading_failures: int = 0
    longest_run: int = 0
    trailing_failures: int = 0
    local_failures: int = 0
    # Longest that the dependency asked for, in seconds.
    retry_after: float = 0.0

    @property
    def is_full(self) -> bool:
        """One of its counts is at its bound."""
        return self.calls >= COUNT_MAX or self.rejections >= COUNT_MAX

    def add(self, outcome: str, *, slow: bool, local: bool, retry_after: float) -> None:
        """One more call."""
        self.calls += 1
        failed = outcome in ("failure", "timeout")
        if failed and local:
            self.local_failures += 1
            return
        if outcome == "success":
            self.successes += 1
            self.trailing_failures = 0
        elif failed:
            self.leading_failures += not self.successes
            self.trailing_failures += 1
            self.longest_run = max(self.longest_run, self.trailing_failures)
            self.retry_after = max(self.retry_after, retry_after)
            if outcome == "timeout":
                self.timeouts += 1
            else:
                self.failures += 1
        else:
            self.ignored += 1
            return
        self.slow += slow

    def to_pb(self, breaker: str, caller: str, now: float) -> pb.Tally:
        """As it is sent at `now`."""
        tally = pb.Tally(
            breaker=breaker,
            caller=caller,
            generation=self.generation,
            caller_generation=self.caller_generation,
            successes=self.successes,
            failures=self.failures,
            timeouts=self.timeouts,
            slow=self.slow,
            ignored=self.ignored,
            rejections=self.rejections,
            leading_failures=self.leading_failures,
            longest_run=self.longest_run,
            trailing_failures=self.trailing_failures,
            local_failures=self.local_failures,
        )
        tally.age.FromNanoseconds(int(min(max(now - self.since, 0.0), 3600.0) * 1e9))
        if self.retry_after:
            tally.retry_after.FromNanoseconds(int(min(self.retry_after, 86_400.0) * 1e9))
        return tally
