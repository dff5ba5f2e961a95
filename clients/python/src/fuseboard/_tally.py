"""Calls that were decided here and not told yet. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from fuseboard.v1 import breaker_service_pb2 as pb

# The most that one count of a tally may say.
COUNT_MAX = 1_000_000


@dataclass(slots=True)
class Tally:
    """The calls to one breaker under one pair of generations."""

    generation: int
    caller_generation: int
    # When the first of them ended.
    since: float
    successes: int = 0
    failures: int = 0
    timeouts: int = 0
    slow: int = 0
    ignored: int = 0
    rejections: int = 0
    trailing_failures: int = 0
    local_failures: int = 0
    # Longest that the dependency asked for, in seconds.
    retry_after: float = 0.0

    @property
    def calls(self) -> int:
        """Outcomes in it; rejections are none."""
        return self.successes + self.failures + self.timeouts + self.ignored + self.local_failures

    def add(self, outcome: str, *, slow: bool, local: bool, retry_after: float) -> None:
        """One more call."""
        failed = outcome in ("failure", "timeout")
        if failed and local:
            self.local_failures += 1
            return
        if outcome == "success":
            self.successes += 1
            self.trailing_failures = 0
        elif failed:
            self.trailing_failures += 1
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
            rejections=min(self.rejections, COUNT_MAX),
            trailing_failures=self.trailing_failures,
            local_failures=self.local_failures,
        )
        tally.age.FromNanoseconds(int(min(max(now - self.since, 0.0), 3600.0) * 1e9))
        if self.retry_after:
            tally.retry_after.FromNanoseconds(int(min(self.retry_after, 86_400.0) * 1e9))
        return tally
