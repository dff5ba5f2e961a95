"""Does what the conformance runner tells it: commands by lines of JSON, as clients/conformance/README.md says."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf import json_format

from fuseboard import BreakerNotFoundError, CallTimeoutError, RejectedError, Verdict, aio
from fuseboard._local import LocalBreaker, LocalRejection
from fuseboard._view import STATES
from fuseboard._wire import local_rule
from fuseboard.v1 import policy_pb2

LINE_BYTES = 16 << 20
DURATIONS = (
    "acquire_timeout",
    "report_timeout",
    "report_interval",
    "progress_interval",
    "max_staleness",
    "close_timeout",
)


class CallError(Exception):
    """What a call of a scenario throws."""


class Scenario:
    """One client and what belongs to it."""

    def __init__(self, options: dict[str, Any], manual_time: bool) -> None:
        self.now = time.monotonic() if manual_time else None
        known = {name: value for name, value in options.items() if not name.endswith("_ms")}
        known |= {name: options[f"{name}_ms"] / 1e3 for name in DURATIONS if f"{name}_ms" in options}
        self.client = aio.Client(**known, clock=(lambda: self.now) if manual_time else None)
        self.heard: list[dict[str, Any]] = []
        self.client.on_event(self._heard)

    def _heard(self, event: Any) -> None:
        told = {"kind": event.kind, "breaker": event.breaker, "generation": event.generation}
        self.heard.append(told | {"sequence": event.sequence, "lost": event.lost})


clients: dict[str, Scenario] = {}
permits: dict[str, aio.Permit] = {}


def rejected(error: RejectedError) -> dict[str, Any]:
    answer = {"reason": error.reason, "retry_after_ms": error.retry_after * 1e3, "source": error.source}
    return answer | ({"state": error.state} if error.state else {})


def breaker(command: dict[str, Any]) -> aio.Breaker:
    return clients[command["client"]].client.breaker(command["breaker"])


async def make_client(command: dict[str, Any]) -> None:
    clients[command["client"]] = Scenario(command.get("options", {}), command.get("manual_time", False))


async def make_breaker(command: dict[str, Any]) -> None:
    options = dict(command.get("options", {}))
    if "policy" in options:
        options["policy"] = json_format.ParseDict(options["policy"], policy_pb2.Policy())
    if "call_timeout_ms" in options:
        options["call_timeout"] = options.pop("call_timeout_ms") / 1e3
    clients[command["client"]].client.breaker(command["breaker"], **options)


async def ready(command: dict[str, Any]) -> dict[str, Any]:
    return {"ready": await clients[command["client"]].client.ready(command["timeout_ms"] / 1e3)}


async def advance(command: dict[str, Any]) -> None:
    clients[command["client"]].now += command["ms"] / 1e3


async def acquire(command: dict[str, Any]) -> dict[str, Any]:
    start = time.monotonic()
    try:
        permit = await breaker(command).acquire()
    except RejectedError as error:
        answer = {"decision": "rejected", **rejected(error)}
    else:
        permits[command["permit"]] = permit
        answer = {"decision": "permitted", "source": permit.source}
    return answer | {"elapsed_ms": (time.monotonic() - start) * 1e3}


async def report(command: dict[str, Any]) -> None:
    details: dict[str, Any] = {}
    if "duration_ms" in command:
        details["duration"] = command["duration_ms"] / 1e3
    if "retry_after_ms" in command:
        details["retry_after"] = command["retry_after_ms"] / 1e3
    details["error_class"] = command.get("error_class", "")
    details["local"] = command.get("origin") == "local"
    told = permits[command["permit"]].report(command["outcome"], **details)
    if command.get("wait"):
        await told
    else:
        keep(told)


async def forget(command: dict[str, Any]) -> None:
    del permits[command["permit"]]


async def execute(command: dict[str, Any]) -> dict[str, Any]:
    call, thrown = command["call"], CallError(command["call"].get("throws", ""))

    async def called() -> Any:
        if "hangs_ms" in call:
            await asyncio.sleep(call["hangs_ms"] / 1e3)
        if "throws" in call:
            raise thrown
        return call.get("returns")

    def classify(_result: Any, error: BaseException | None) -> Verdict:
        if error is None:
            return Verdict("success")
        if str(error) == command.get("ignore"):
            return Verdict("ignored")
        return Verdict("failure", "call_error", command.get("retry_after_ms", 0) / 1e3)

    own = {"classify": classify} if "ignore" in command or "retry_after_ms" in command else {}
    if "fallback" in command:
        own["fallback"] = lambda _error: command["fallback"]
    guarded = breaker(command).protect(**own)(called)
    answer: dict[str, Any] = {}
    longest, calls, rejections = 0.0, 0, 0
    counted = clients[command["client"]].client
    for _ in range(command.get("times", 1)):
        before = sum(counted.stats().rejections.values())
        start = time.monotonic()
        try:
            answer = {"value": await guarded()}
        except RejectedError as error:
            answer = {"rejected": rejected(error)}
        except CallTimeoutError:
            answer = {"timed_out": True}
        except CallError as error:
            answer = {"threw": str(error), "is_same_error": error is thrown}
        longest = max(longest, time.monotonic() - start)
        is_rejected = sum(counted.stats().rejections.values()) > before
        calls, rejections = calls + (not is_rejected), rejections + is_rejected
    return answer | {"elapsed_ms": longest * 1e3, "permitted": calls, "rejections": rejections}


async def view(command: dict[str, Any]) -> dict[str, Any]:
    known = breaker(command).view()
    if known is None:
        return {"fresh": False}
    override = known.pop("override")
    return known | ({"override_mode": override} if override else {})


async def state(command: dict[str, Any]) -> dict[str, Any]:
    try:
        answer = await breaker(command).state()
    except BreakerNotFoundError:
        return {"not_found": True}
    status, totals = answer.status, answer.totals
    return {
        "state": STATES[status.state],
        "generation": status.generation,
        "failures": status.failures,
        "successes": totals.successes,
        "total_failures": totals.failures,
        "rejected": totals.rejected,
        "stale": totals.stale,
        "ignored": totals.ignored,
    }


async def reset(command: dict[str, Any]) -> dict[str, Any]:
    try:
        await breaker(command).reset(command.get("reason", ""))
    except BreakerNotFoundError:
        return {"not_found": True}
    return {}


async def events(command: dict[str, Any]) -> dict[str, Any]:
    return {"events": clients[command["client"]].heard}


async def stats(command: dict[str, Any]) -> dict[str, Any]:
    known = clients[command["client"]].client.stats()
    numbers = {name: getattr(known, name) for name in known.__dataclass_fields__ if name != "staleness"}
    return numbers | {"staleness_ms": min(known.staleness * 1e3, 1e15)}


async def local(command: dict[str, Any]) -> dict[str, Any]:
    alone = LocalBreaker(local_rule(json_format.ParseDict(command["policy"], policy_pb2.Policy())))
    given: dict[str, int] = {}
    results = []
    for step in command["steps"]:
        now = step["at_ms"] / 1e3
        if step["do"] == "report":
            if step["permit"] in given:
                is_local = step.get("origin") == "local"
                alone.report(given.pop(step["permit"]), "ignored" if is_local else step["outcome"], now)
            continue
        answer = alone.acquire(now)
        if isinstance(answer, LocalRejection):
            no = {"decision": "rejected", "reason": answer.reason, "retry_after_ms": round(answer.retry_after * 1e3, 6)}
            results.append(no)
        else:
            given[step["permit"]] = answer
            results.append({"decision": "permitted"})
    return {"results": results}


async def close(command: dict[str, Any]) -> dict[str, Any]:
    start = time.monotonic()
    await clients[command["client"]].client.close()
    return {"elapsed_ms": (time.monotonic() - start) * 1e3}


COMMANDS: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any] | None]]] = {
    "client": make_client,
    "breaker": make_breaker,
    "ready": ready,
    "advance": advance,
    "acquire": acquire,
    "report": report,
    "forget": forget,
    "execute": execute,
    "view": view,
    "state": state,
    "reset": reset,
    "events": events,
    "stats": stats,
    "local": local,
    "close": close,
}

working: set[asyncio.Future[None]] = set()


def keep(work: Awaitable[None]) -> None:
    task = asyncio.ensure_future(work)
    working.add(task)
    task.add_done_callback(working.discard)


async def obey(command: dict[str, Any]) -> None:
    try:
        answer = {"ok": await COMMANDS[command["do"]](command) or {}}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps({"id": command["id"], **answer}), flush=True)


async def main() -> None:
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        keep(obey(json.loads(line)))


asyncio.run(main())
