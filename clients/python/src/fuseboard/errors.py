"""What a client raises. The errors of the user's own calls are never wrapped."""

from __future__ import annotations


class FuseboardError(Exception):
    """Every error of this package's own."""


class RejectedError(FuseboardError):
    """A call was rejected: it was not made."""

    def __init__(self, breaker: str, reason: str, retry_after: float, state: str | None, source: str) -> None:
        super().__init__(f"breaker {breaker!r} rejected the call ({reason}): try again in {retry_after:.3g} s")
        #: Key of the breaker.
        self.breaker = breaker
        #: `open`, `half_open_full`, `caller_isolated`, `forced_open` or `unavailable`.
        self.reason = reason
        #: When to come back, in seconds; at least 0.01.
        self.retry_after = retry_after
        #: State that it was decided in: `closed`, `open`, `half_open`, or `None` where it is not known.
        self.state = state
        #: Who decided: `cached`, `server`, `local` or `unavailable`.
        self.source = source


class CallTimeoutError(FuseboardError, TimeoutError):
    """The call took longer than `call_timeout`. It was reported as `timeout`."""


class ServerError(FuseboardError):
    """The server could not do what an operator's call asked for (`state`, `reset`)."""


class BreakerNotFoundError(ServerError):
    """The server has never seen this breaker."""
