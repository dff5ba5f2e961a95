"""The connection of a client: one channel, one watch, one session, and what else is asked of the server.

It lives on an event loop: the user's own for `fuseboard.aio`, a background thread's for `fuseboard.Client`. The two
clients put it there and are otherwise the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import grpc

from fuseboard._guard import Guard, Link
from fuseboard._session import Session
from fuseboard._view import seconds
from fuseboard._watch import Watch
from fuseboard._wire import has_window_rule, local_rule
from fuseboard.errors import BreakerNotFoundError, ServerError
from fuseboard.v1 import breaker_service_pb2 as pb
from fuseboard.v1.breaker_service_pb2_grpc import BreakerServiceStub

if TYPE_CHECKING:
    from fuseboard.events import Event
    from fuseboard.options import Settings
    from fuseboard.v1 import policy_pb2

log = logging.getLogger("fuseboard")

# An operator's call, or a declaration, that takes longer is given up.
UNARY_S = 5.0
# Most declarations of one call; the server's bound.
DECLARATIONS_MAX = 1_000
# A policy that changed is read again after a time drawn up to this, so that a fleet does not ask at once.
POLICY_DELAY_MAX_S = 1.0

OPTIONS = [
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # The client has a backoff of its own.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A channel of its own, also where another client of this process has the same address.
    ("grpc.use_local_subchannel_pool", 1),
]


class Connection:
    """All of a client that waits. Made and used on one event loop."""

    def __init__(
        self, settings: Settings, link: Link, clock: Callable[[], float], on_event: Callable[[Event], None]
    ) -> None:
        self.guards: dict[str, Guard] = {}
        self._settings = settings
        self._channel = _channel(settings)
        self._stub = _stub(self._channel)
        self._metadata = [("authorization", f"Bearer {settings.token}")] if settings.token else None
        # Versions of the policies that are known, or being read.
        self._policies: dict[str, int] = {}
        self.watch = Watch(
            settings,
            link,
            self.guards,
            clock,
            open_stream=lambda request: self._stub.WatchEvents(request, metadata=self._metadata),
            on_event=on_event,
            on_policy=self._policy_seen,
            on_silence=self._renew,
        )
        self.session = Session(
            settings,
            link,
            self.guards,
            clock,
            open_stream=lambda: self._stub.Session(metadata=self._metadata),
            declare=self._declare_all,
            on_first_answer=lambda guard: self._read_policy(guard, 0),
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._spawn(self.watch.run())
        self._spawn(self.session.run())

    def add(self, guard: Guard) -> None:
        """One more breaker."""
        self.guards[guard.key] = guard
        self.watch.add_keys()
        if guard.declared is not None:
            self.session.undeclared.add(guard.key)
            self._spawn(self._declare([guard]))

    def _renew(self) -> None:
        """Another connection: the one there is swallows what it is given, perhaps for many minutes to come."""
        silent, self._channel = self._channel, _channel(self._settings)
        self._stub = _stub(self._channel)
        self._spawn(silent.close())

    async def ready(self) -> None:
        """Until every breaker is covered by a watch and the session answers in time."""
        await self.session.usable()
        while not all(guard.covered for guard in self.guards.values()) or self.session.undeclared:
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        """Sends what waits and ends everything, within `close_timeout`."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.session.flush(), self._settings.close_timeout)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.session.abandon()
        await self._channel.close()

    # Unary calls.

    async def state(self, key: str) -> pb.GetStateResponse:
        """GetState."""
        with _errors(key):
            request = pb.GetStateRequest(breaker=key)
            answer: pb.GetStateResponse = await self._stub.GetState(request, timeout=UNARY_S, metadata=self._metadata)
            return answer

    async def reset(self, key: str, reason: str, actor: str) -> None:
        """Reset, and what it means here."""
        with _errors(key):
            request = pb.ResetRequest(breaker=key, reason=reason, actor=actor or self._settings.caller)
            await self._stub.Reset(request, timeout=UNARY_S, metadata=self._metadata)

    async def declare(self, key: str, policy: policy_pb2.Policy, revision: int) -> policy_pb2.PolicyInForce:
        """Declares anew; what is in force comes back."""
        guard = self.guards[key]
        guard.declared = pb.Declaration(breaker=key, policy=policy, revision=revision)
        with _errors(key):
            response = await self._send_declarations([guard])
        return response.declared[0].policy

    async def _declare_all(self) -> None:
        """Before a session's hello."""
        guards = [guard for guard in self.guards.values() if guard.declared is not None]
        if guards:
            await self._declare(guards)

    async def _declare(self, guards: list[Guard]) -> None:
        try:
            await self._send_declarations(guards)
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                log.error("the policies of %s were refused: %s", [guard.key for guard in guards], error.details())
        finally:
            self.session.declared({guard.key for guard in guards})

    async def _send_declarations(self, guards: list[Guard]) -> pb.DeclareResponse:
        response = pb.DeclareResponse()
        for start in range(0, len(guards), DECLARATIONS_MAX):
            request = pb.DeclareRequest(caller=self._settings.caller)
            some = guards[start : start + DECLARATIONS_MAX]
            request.declarations.extend(guard.declared for guard in some if guard.declared is not None)
            response = await self._stub.Declare(request, timeout=UNARY_S, metadata=self._metadata)
            for declared in response.declared:
                self._learn_policy(self.guards[declared.status.breaker], declared.policy)
        return response

    # Policies.

    def _policy_seen(self, guard: Guard, version: int) -> None:
        if self._policies.get(guard.key, version) != version:
            self._read_policy(guard, random.uniform(0, POLICY_DELAY_MAX_S))
        self._policies[guard.key] = version

    def _read_policy(self, guard: Guard, delay: float) -> None:
        self._spawn(self._read_policy_after(guard, delay))

    async def _read_policy_after(self, guard: Guard, delay: float) -> None:
        await asyncio.sleep(delay)
        with contextlib.suppress(ServerError):
            self._learn_policy(guard, (await self.state(guard.key)).policy)

    def _learn_policy(self, guard: Guard, policy: policy_pb2.PolicyInForce) -> None:
        self._policies[guard.key] = policy.version
        guard.rule, guard.suspects = local_rule(policy.policy), has_window_rule(policy.policy)
        guard.slow_after = seconds(policy.policy.slow_call_duration)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task of the client has failed", exc_info=task.exception())


def _stub(channel: grpc.aio.Channel) -> Any:
    # What is generated for grpc has no types.
    return BreakerServiceStub(channel)  # type: ignore[no-untyped-call]


def _channel(settings: Settings) -> grpc.aio.Channel:
    if settings.tls is None:
        return grpc.aio.insecure_channel(settings.address, OPTIONS)
    tls = settings.tls
    credentials = grpc.ssl_channel_credentials(tls.roots, tls.key, tls.certificate)
    options = OPTIONS + ([("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else [])
    return grpc.aio.secure_channel(settings.address, credentials, options)


@contextlib.contextmanager
def _errors(key: str) -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.NOT_FOUND:
            raise BreakerNotFoundError(f"the server has never seen breaker {key!r}") from error
        raise ServerError(f"breaker {key!r}: {error.details()} ({error.code().name})") from error
