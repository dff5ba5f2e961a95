"""What a client knows of a breaker. Pure: instants are of the client's monotonic clock and come as arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fuseboard.v1 import breaker_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

FOREVER = float("inf")

STATES: dict[int, str] = {pb.STATE_CLOSED: "closed", pb.STATE_OPEN: "open", pb.STATE_HALF_OPEN: "half_open"}
OVERRIDES: dict[int, str] = {
    pb.OVERRIDE_MODE_FORCED_OPEN: "forced_open",
    pb.OVERRIDE_MODE_FORCED_CLOSED: "forced_closed",
    pb.OVERRIDE_MODE_SHADOW: "shadow",
}
REASONS: dict[int, str] = {
    pb.REJECTION_REASON_OPEN: "open",
    pb.REJECTION_REASON_HALF_OPEN_FULL: "half_open_full",
    pb.REJECTION_REASON_CALLER_ISOLATED: "caller_isolated",
    pb.REJECTION_REASON_FORCED_OPEN: "forced_open",
}


class View(NamedTuple):
    """Where a breaker stands, as far as the server has told. Immutable, so that any thread may read it."""

    state: str
    generation: int
    # `forced_open`, `forced_closed`, `shadow`, or empty.
    override: str = ""
    # When the open period passes. `FOREVER`: not told.
    open_until: float = FOREVER
    override_until: float = FOREVER
    # The state of this caller's own scope.
    caller_state: str = "closed"
    caller_generation: int = 0
    caller_until: float = FOREVER
    policy_version: int = 0

    @property
    def permits(self) -> bool:
        """Calls are permitted without asking, as long as this is fresh."""
        return self.state == "closed" and self.caller_state == "closed" and self.override != "forced_open"

    def rejects(self, now: float) -> tuple[str, float] | None:
        """Why a call is rejected and for how long, in seconds, without asking; also when this is old."""
        if self.override == "forced_open":
            left = self.override_until - now
            return "forced_open", 30.0 if left == FOREVER else min(max(left, 0.01), 30.0)
        if self.override:
            return None
        if self.state == "open" and now < self.open_until < FOREVER:
            return "open", max(self.open_until - now, 0.01)
        if self.caller_state == "open" and now < self.caller_until < FOREVER:
            return "caller_isolated", max(self.caller_until - now, 0.01)
        return None


def seconds(duration: Duration) -> float:
    """A proto duration as seconds."""
    return float(duration.seconds) + duration.nanos / 1e9


def of_status(
    status: pb.BreakerStatus, before: View | None, now: float, *, told_at: Timestamp | None = None, scope: bool = False
) -> View:
    """The view after a status.

    `told_at` is the server's time of it, where known. `scope`: what it says of the caller is said of this one (and
    nothing said means that it is not isolated); else what is known of the caller stands.
    """
    override_until = FOREVER
    if told_at and status.HasField("override_expire_time"):
        left = status.override_expire_time.ToNanoseconds() - told_at.ToNanoseconds()
        override_until = now + left / 1e9
    view = View(
        state=STATES[status.state],
        generation=status.generation,
        override=OVERRIDES.get(status.override_mode, ""),
        open_until=now + seconds(status.state_remaining) if status.HasField("state_remaining") else FOREVER,
        override_until=override_until,
        policy_version=status.policy_version,
    )
    if scope:
        return with_scope(view, status.caller, now) if status.HasField("caller") else view
    if before:
        view = view._replace(
            caller_state=before.caller_state,
            caller_generation=before.caller_generation,
            caller_until=before.caller_until,
        )
    return view


def with_scope(view: View, caller: pb.CallerStatus, now: float) -> View:
    """The view with what is told of the caller's own scope."""
    return view._replace(
        caller_state=STATES[caller.state],
        caller_generation=caller.generation,
        caller_until=now + seconds(caller.state_remaining) if caller.HasField("state_remaining") else FOREVER,
    )
