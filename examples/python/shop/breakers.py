"""One breaker for each dependency, shared by all replicas."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import ParamSpec, TypeVar

import fuseboard
from fuseboard import Policy, aio
from shop.settings import CALL_TIMEOUT_SECONDS

P = ParamSpec("P")
T = TypeVar("T")

#: Policies to start from.
PRESETS = {
    "fast": Policy(failure_threshold=2, open_duration=5),
    "slow": Policy(failure_threshold=10, open_duration=300),
    "sensitive": Policy(failure_threshold=1, open_duration=60),
    "tolerant": Policy(failure_threshold=20, open_duration=10),
}
TIGHTENED = Policy(failure_threshold=3, open_duration=60)


class Breakers:
    """The shop's breakers. What one replica sees opens them for all."""

    def __init__(self, client: aio.Client) -> None:
        self._client = client
        self.database = self._breaker("database", Policy(failure_threshold=5, open_duration=30))
        self.cache = self._breaker("cache", Policy(failure_threshold=10, open_duration=10))
        self.external_api = self._breaker("external-api", Policy(failure_threshold=3, open_duration=60))
        self.partners: dict[str, aio.Breaker | Adaptive] = {
            name: self._breaker(f"partner-{name}", policy) for name, policy in PRESETS.items()
        }
        self.adaptive = Adaptive(self._breaker("partner-adaptive", PRESETS["tolerant"], revision=1))
        self.partners["adaptive"] = self.adaptive
        presets = [partner for partner in self.partners.values() if isinstance(partner, aio.Breaker)]
        every = [self.database, self.cache, self.external_api, *presets, self.adaptive.breaker]
        self.by_name = {breaker.key: breaker for breaker in every}

    def _breaker(self, key: str, policy: Policy, revision: int = 0) -> aio.Breaker:
        # With two replicas, one that sees failures is evidence enough (the default asks for two callers).
        shared = replace(policy, min_callers=1)
        return self._client.breaker(key, policy=shared, revision=revision, call_timeout=CALL_TIMEOUT_SECONDS)


class Adaptive:
    """A breaker that tightens itself, once more than half of at least 100 calls have failed.

    It goes by the server's totals, which are the whole fleet's, so the replicas come to the same. Whichever is first
    declares the tighter policy with a higher revision: that keeps the breaker's state and statistics, and a replica
    that starts later with revision 1 does not undo it.
    """

    MINIMUM_CALLS = 100
    FAILURE_RATE = 0.5
    #: The totals are looked at after so many calls of this process.
    CHECK_EVERY = 10
    REVISION = 2

    def __init__(self, breaker: aio.Breaker) -> None:
        self.breaker = breaker
        self.is_tight = False
        self._calls = 0

    async def execute(self, call: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """As a breaker's `execute`."""
        try:
            return await self.breaker.execute(call, *args, **kwargs)
        finally:
            self._calls += 1
            if not self.is_tight and self._calls % self.CHECK_EVERY == 0:
                await self._adapt()

    async def _adapt(self) -> None:
        try:
            state = await self.breaker.state()
            calls = state.totals.successes + state.totals.failures
            if state.policy.declared_revision >= self.REVISION:
                self.is_tight = True
            elif calls >= self.MINIMUM_CALLS and state.totals.failures > calls * self.FAILURE_RATE:
                await self.breaker.declare(replace(TIGHTENED, min_callers=1), self.REVISION)
                self.is_tight = True
        except fuseboard.ServerError:
            return  # Without the server nothing changes; it is looked at again after more calls.
