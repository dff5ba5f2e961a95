"""What happens to breakers, as a client hears it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event: a move of a breaker, or anything else that its history tells.

    `kind` is the proto's name in small letters (`opened`, `half_opened`, `closed`, `reset`, `policy_changed`,
    `override_set`, `override_cleared`, `caller_isolated`, `caller_half_opened`, `caller_restored`,
    `would_have_opened`, `deleted`), or `resync`: `lost` events were not heard (0 where that cannot be known).
    """

    kind: str
    #: Key of the breaker. Empty for a resync.
    breaker: str = ""
    #: Place in the server's event log.
    sequence: int = 0
    #: The breaker's generation after it.
    generation: int = 0
    #: States before and after: of the breaker, or of the caller's scope.
    before: str | None = None
    after: str | None = None
    #: Why, in the proto's words (`trip_rule`, `probes_succeeded`, …).
    reason: str = ""
    #: The trip rule that held, where one did.
    rule: str = ""
    #: Consecutive failures behind it.
    failures: int = 0
    #: The caller whose scope moved, or whose call made the move.
    caller: str = ""
    #: Who asked for it, and in which words.
    actor: str = ""
    comment: str = ""
    #: When, in seconds since 1970 by the server's clock.
    time: float = 0.0
    #: Moves that it stands for: a burst of the same move is told as one event, the last of them.
    count: int = 1
    #: When the first of them happened; `time` where it was one move.
    first_time: float = 0.0
    #: Events that a resync lost.
    lost: int = 0
