"""What a timeline is played in: a server of its own, a wire to it, and what operators and other callers do there."""

import asyncio
import itertools
import os
import tempfile
from typing import Any, Self

import grpc
from google.protobuf import json_format

from api import Api, admin, breaker, in_seconds, policy, seconds, service
from conformance.wire import Wire
from harness import Fuseboard
from harness.server import free_port

FLAGS = {"manual": ["--manual-clock"], "real": [], "durable": []}
# Nobody's grace is waited for: the clients' streams end with the server.
DRAIN = ["--drain-grace", "2s"]
OTHER = "other/1"
TRIES = 100

Fields = dict[str, Any]

# The worlds of this process, so far.
_worlds = itertools.count(1)


def own_host() -> str:
    """A loopback address that no other world has: all of 127.0.0.0/8 leads to this machine."""
    number = next(_worlds)
    return f"127.{os.getpid() % 253 + 1}.{number // 250 % 250}.{number % 250 + 2}"


class World:
    """A server that can be killed and comes back, behind a wire whose port stays."""

    def __init__(self, kind: str) -> None:
        self._data = tempfile.TemporaryDirectory(prefix="fuseboard-") if kind == "durable" else None
        self._flags = [*FLAGS[kind], *DRAIN, *(["--data-dir", self._data.name] if self._data else [])]
        self._server: Fuseboard | None = None
        self._permits: dict[str, str] = {}
        # What was sent when it was last asked for.
        self._sent: dict[str, int] = {}
        # Servers share their ports by SO_REUSEPORT, so two that were given one port would answer each other's clients,
        # and a port whose server is down may be given away. On an address of its own neither happens.
        self._host = own_host()
        self._port = free_port(self._host)
        self.wire = Wire(self._port, self._host)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.wire.close()
        if self._server:
            await asyncio.to_thread(self._server.kill)
        if self._data:
            self._data.cleanup()

    @property
    def api(self) -> Api:
        assert self._server, "the server is not running"
        return Api(self._server)

    async def start(self) -> None:
        """Starts the server where it was, and restores the wire to it."""
        assert not self._server, "the server is running"
        self._server = await asyncio.to_thread(Fuseboard, *self._flags, host=self._host, port=self._port)
        self.wire.restore()

    async def kill(self) -> None:
        """Ends the server at once. Its port refuses."""
        assert self._server, "the server is not running"
        await asyncio.to_thread(self._server.kill)
        self._server = None
        self.wire.refuse()

    async def stop(self) -> None:
        """Ends the server as an operator does: streams are told goodbye, and what it knows is on disk."""
        assert self._server, "the server is not running"
        self._server.terminate()
        code = await asyncio.to_thread(self._server.wait)
        log = self._server.log()
        await asyncio.to_thread(self._server.kill)
        self._server = None
        self.wire.refuse()
        if code or "panicked" in log:
            raise RuntimeError(f"the server ended with {code}:\n{log}")

    async def do(self, verb: str, fields: Fields) -> Fields:
        """Plays one of COMMANDS."""
        return await COMMANDS[verb](self, **fields)

    # ---- What steps can do ---------------------------------------------------------------------------------------

    async def advance(self, ms: float) -> Fields:
        await asyncio.to_thread(self.api.advance, ms / 1000)
        return {}

    async def acquire(self, key: str, permit: str = "", caller: str = OTHER) -> Fields:
        answer = await asyncio.to_thread(self.api.acquire, key, caller=caller)
        self._permits[permit] = answer.permit
        if answer.decision == breaker.DECISION_PERMITTED:
            return {"decision": "permitted"}
        return {
            "decision": "rejected",
            "reason": word(breaker.RejectionReason, answer.reason),
            "retry_after_ms": in_seconds(answer.retry_after) * 1000,
        }

    async def report(self, key: str, outcome: str, permit: str = "") -> Fields:
        value = breaker.Outcome.Value(f"OUTCOME_{outcome.upper()}")
        answer = await asyncio.to_thread(self.api.report, key, self._permits[permit], value)
        return {"result": word(service.ReportResult, answer.result), "state": word(breaker.State, answer.state)}

    async def trip(self, key: str, caller: str = OTHER) -> Fields:
        """Another caller's calls fail until the breaker opens."""

        def calls() -> Fields:
            for _ in range(TRIES):
                if self.api.call_as(caller, key, breaker.OUTCOME_FAILURE).state == breaker.STATE_OPEN:
                    return {}
            raise AssertionError(f"{TRIES} failures did not trip {key}")

        return await asyncio.to_thread(calls)

    async def reset(self, key: str) -> Fields:
        await asyncio.to_thread(self.api.breakers.Reset, service.ResetRequest(breaker=key, actor="ops"), timeout=10)
        return {}

    async def delete(self, key: str) -> Fields:
        request = admin.DeleteBreakerRequest(breaker=key, actor="ops")
        await asyncio.to_thread(self.api.operator.DeleteBreaker, request, timeout=10)
        return {}

    async def override(self, key: str, mode: str, expire_after_ms: float = 0) -> Fields:
        """Holds the breaker in a state; `mode` `none` ends that."""
        if mode == "none":
            clear = admin.ClearOverrideRequest(breaker=key, actor="ops")
            await asyncio.to_thread(self.api.operator.ClearOverride, clear, timeout=10)
            return {}
        request = admin.SetOverrideRequest(
            breaker=key, mode=breaker.OverrideMode.Value(f"OVERRIDE_MODE_{mode.upper()}"), actor="ops", reason="drill"
        )
        if expire_after_ms:
            request.expire_after.CopyFrom(seconds(expire_after_ms / 1000))
        await asyncio.to_thread(self.api.operator.SetOverride, request, timeout=10)
        return {}

    async def policy(self, key: str, fields: Fields) -> Fields:
        """Sets the operators' policy for a key or pattern."""
        request = admin.SetPolicyRequest(pattern=key, policy=json_format.ParseDict(fields, policy.Policy()))
        await asyncio.to_thread(self.api.operator.SetPolicy, request, timeout=10)
        return {}

    async def state(self, key: str) -> Fields:
        """All that the server knows of a breaker, in numbers."""
        try:
            answer = await asyncio.to_thread(self.api.state, key)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return {"not_found": True}
            raise
        totals = answer.totals
        return {
            "state": word(breaker.State, answer.status.state),
            "generation": answer.status.generation,
            "failures": answer.status.failures,
            "successes": totals.successes,
            "total_failures": totals.failures,
            "timeouts": totals.timeouts,
            "ignored": totals.ignored,
            "rejected": totals.rejected,
            "stale": totals.stale,
            "bypassed": totals.bypassed,
            "local_failures": totals.local_failures,
            "opens": totals.opens,
            "slow": answer.window.slow,
            "failure_threshold": answer.policy.policy.failure_threshold,
            "callers": sorted(it.status.caller for it in answer.callers),
        }

    async def set_wire(self, mode: str = "", delay_ms: float | None = None) -> Fields:
        if mode:
            {
                "pass": self.wire.restore,
                "cut": self.wire.cut,
                "refuse": self.wire.refuse,
                "hole": self.wire.hole,
                "mute": self._mute,
            }[mode]()
        if delay_ms is not None:
            self.wire.delay_s = delay_ms / 1000
        return {}

    def _mute(self) -> None:
        self.wire.mute = True

    async def sent(self) -> Fields:
        """What went up the wire since this was last asked."""
        now = self.wire.sent()
        answer = {kind: count - self._sent.get(kind, 0) for kind, count in now.items()}
        self._sent = now
        return answer


def word(enum: Any, value: int) -> str:
    """An enum's value as drivers spell it: OPEN of STATE_OPEN is `open`."""
    return enum.Name(value).removeprefix(PREFIXES[enum.DESCRIPTOR.name]).lower()


PREFIXES = {"State": "STATE_", "RejectionReason": "REJECTION_REASON_", "ReportResult": "REPORT_RESULT_"}

COMMANDS = {
    "server.start": World.start,
    "server.kill": World.kill,
    "server.stop": World.stop,
    "server.advance": World.advance,
    "server.acquire": World.acquire,
    "server.report": World.report,
    "server.trip": World.trip,
    "server.reset": World.reset,
    "server.delete": World.delete,
    "server.override": World.override,
    "server.policy": World.policy,
    "server.state": World.state,
    "wire": World.set_wire,
    "wire.sent": World.sent,
}
