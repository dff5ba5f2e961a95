"""Clients that need no server: their breakers stand as a test has set them, and remember what was reported.

They are the real clients without a connection, so that deciding, classifying, fallbacks and permits are the real ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fuseboard import aio
from fuseboard._calls import Home
from fuseboard._guard import Guard, No, Yes
from fuseboard._link import Connection
from fuseboard._view import View
from fuseboard.client import Client
from fuseboard.events import Event
from fuseboard.options import Duration, as_seconds
from fuseboard.v1 import breaker_pb2, breaker_service_pb2, policy_pb2

# Outcomes that a breaker remembers.
OUTCOMES_MAX = 100_000

_STATES = {
    "closed": breaker_pb2.STATE_CLOSED,
    "open": breaker_pb2.STATE_OPEN,
    "half_open": breaker_pb2.STATE_HALF_OPEN,
}


class FakeGuard(Guard):
    """A breaker that stands as it was set, and remembers outcomes."""

    __slots__ = ("outcomes",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.mode = "cached"
        self.covered = True
        self.view = View("closed", 1)
        self.outcomes: list[str] = []

    def decide(self, now: float) -> Yes | No:
        """As the real one; what it would ask for is permitted."""
        return super().decide(now) or Yes("cached", self.view)

    def settle(self, yes: Yes, outcome: str, now: float, **details: Any) -> None:
        """Remembers the outcome. There is nobody to tell."""
        if len(self.outcomes) < OUTCOMES_MAX:
            self.outcomes.append(outcome)


class FakeConnection:
    """What an operator's calls come to."""

    def __init__(self, fake: Fake) -> None:
        self._fake = fake

    async def ready(self) -> None:
        """At once."""

    async def state(self, key: str) -> breaker_service_pb2.GetStateResponse:
        guard = self._fake.guards[key]
        answer = breaker_service_pb2.GetStateResponse()
        if guard.view is not None:
            answer.status.state = _STATES[guard.view.state]
            answer.status.generation = guard.view.generation
        answer.status.breaker = key
        outcomes = self._fake.outcomes(key)
        answer.totals.successes = outcomes.count("success")
        answer.totals.failures = outcomes.count("failure") + outcomes.count("timeout")
        return answer

    async def reset(self, key: str, reason: str, actor: str) -> None:
        self._fake.set_closed(key, kind="reset")

    async def declare(self, key: str, policy: policy_pb2.Policy, revision: int) -> policy_pb2.PolicyInForce:
        return policy_pb2.PolicyInForce(policy=policy, declared_revision=revision, sources=["declared"])


class Fake(Home):
    """What both fakes have in common."""

    guard_type = FakeGuard
    breaker: Any
    _heard: Any

    def set_open(self, key: str, retry_after: Duration = 30.0) -> None:
        """From now on calls are rejected, `open`, for so long."""
        self._stand(key, "opened", state="open", open_until=self.clock() + as_seconds(retry_after))

    def set_isolated(self, key: str, retry_after: Duration = 30.0) -> None:
        """From now on calls are rejected, `caller_isolated`, for so long."""
        self._stand(key, "caller_isolated", caller_state="open", caller_until=self.clock() + as_seconds(retry_after))

    def set_forced_open(self, key: str) -> None:
        """From now on calls are rejected, `forced_open`."""
        self._stand(key, "override_set", override="forced_open")

    def set_closed(self, key: str, *, kind: str = "closed") -> None:
        """From now on calls are permitted."""
        self._stand(key, kind)

    def outcomes(self, key: str) -> list[str]:
        """What was reported to the breaker, in order."""
        guard = self._known(key)
        return list(guard.outcomes)

    def on_loop(self, work: Callable[[Connection], None]) -> None:
        """There is no connection."""

    def _known(self, key: str) -> FakeGuard:
        self.breaker(key)
        guard = self.guards[key]
        assert isinstance(guard, FakeGuard)
        return guard

    def _stand(self, key: str, kind: str, **changes: Any) -> None:
        guard = self._known(key)
        before = guard.view or View("closed", 1)
        guard.view = View("closed", before.generation + 1)._replace(**changes)
        self._heard(Event(kind, key, generation=guard.view.generation, before=before.state, after=guard.view.state))


class FakeClient(Fake, Client):
    """In place of a `fuseboard.Client`."""

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        Client.__init__(self, "fake:1", caller="test/1", clock=clock)
        self.link.usable, self.link.heard_at = True, float("inf")

    def _wait(self, work: Callable[[Any], Coroutine[Any, Any, Any]], timeout: float) -> Any:
        return asyncio.run(work(FakeConnection(self)))


class FakeAioClient(Fake, aio.Client):
    """In place of a `fuseboard.aio.Client`."""

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        aio.Client.__init__(self, "fake:1", caller="test/1", clock=clock)
        self.link.usable, self.link.heard_at = True, float("inf")

    def connected(self) -> Any:
        """The operator's calls have something to talk to."""
        return FakeConnection(self)
