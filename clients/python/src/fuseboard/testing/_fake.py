"""Clients that need no server: their breakers stand as a test has set them, and remember what was reported.

They are the real clients over a link that leads nowhere, so that deciding, classifying and permits are the real ones.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fuseboard import aio
from fuseboard._view import View
from fuseboard.client import Client
from fuseboard.errors import BreakerNotFoundError
from fuseboard.events import Event

if TYPE_CHECKING:
    from concurrent.futures import Future

    from fuseboard._calls import Guarded
    from fuseboard._guard import Guard, Yes
    from fuseboard._link import Connection
    from fuseboard.options import Verdict

RETRY_AFTER_S = 30.0
# Outcomes that a breaker remembers.
OUTCOMES_MAX = 100_000


class _Fake(Client if TYPE_CHECKING else object):  # type: ignore[misc]
    """What both fakes have in common."""

    def _prepare(self) -> None:
        self._fake_lock = threading.Lock()
        self._outcomes: dict[str, list[str]] = {}
        self.link.usable = True
        self.link.heard_at = float("inf")

    def on_loop(self, work: Callable[[Connection], None]) -> None:
        """There is no connection."""

    def new_guard(self, key: str, *options: Any) -> Guard:
        guard = super().new_guard(key, *options)
        guard.mode = "cached"
        guard.covered = True
        guard.learn(View("closed", 1))
        self._outcomes[key] = []
        return guard

    def open(self, key: str, retry_after: float = RETRY_AFTER_S) -> None:
        """Calls to the breaker are rejected, `open`, for so many seconds."""
        now = self.clock()
        self._stand(key, "opened", state="open", open_until=now + retry_after)

    def force_open(self, key: str) -> None:
        """Calls to the breaker are rejected, `forced_open`."""
        self._stand(key, "override_set", override="forced_open")

    def isolate(self, key: str, retry_after: float = RETRY_AFTER_S) -> None:
        """Calls to the breaker are rejected, `caller_isolated`, for so many seconds."""
        self._stand(key, "caller_isolated", caller_state="open", caller_until=self.clock() + retry_after)

    def close_breaker(self, key: str) -> None:
        """Calls to the breaker are permitted."""
        self._stand(key, "closed", state="closed")

    def outcomes(self, key: str) -> list[str]:
        """What was reported to the breaker, in order."""
        self.breaker(key)
        with self._fake_lock:
            return list(self._outcomes[key])

    def _stand(self, key: str, kind: str, **changes: Any) -> None:
        self.breaker(key)
        guard = self.guards[key]
        before = guard.view or View("closed", 1)
        view = View("closed", before.generation + 1)._replace(**changes)
        guard.forget()
        guard.learn(view)
        self._heard(Event(kind, breaker=key, generation=view.generation, before=before.state, after=view.state))

    def _remember(self, guard: Guard, outcome: str) -> None:
        with self._fake_lock:
            outcomes = self._outcomes[guard.key]
            if len(outcomes) < OUTCOMES_MAX:
                outcomes.append(outcome)


def _remembering(guard: Guard, remember: Callable[[Guard, str], None]) -> None:
    """Makes the guard tell what it is told."""


class FakeClient(_Fake, Client):
    """In place of a `fuseboard.Client`."""

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        Client.__init__(self, "fake:1", caller="test/1", clock=clock)
        self._prepare()


class FakeAioClient(_Fake, aio.Client):
    """In place of a `fuseboard.aio.Client`."""

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        aio.Client.__init__(self, "fake:1", caller="test/1", clock=clock)
        self._prepare()
