"""What a decision costs: from memory, asked from a server, and by a library in the process, over an empty call.

Prints a line of JSON for each. FUSEBOARD_BIN names the server.
"""

import json
import time
from collections.abc import Callable

import pybreaker

import fuseboard
from conftest import Server

ROUNDS = 7
ROUND_S = 0.2


def empty() -> None:
    """The call that is guarded."""


def through(call: Callable[[], None]) -> None:
    """As far as an empty call has to go, too."""
    call()


def rate(work: Callable[[Callable[[], None]], None]) -> float:
    """Nanoseconds a call in one round."""
    calls, start = 0, time.perf_counter()
    while (now := time.perf_counter()) - start < ROUND_S:
        for _ in range(100):
            work(empty)
        calls += 100
    return (now - start) / calls * 1e9


server = Server()
try:
    with fuseboard.Client(server.address, caller="bench/1") as client:
        cached = client.breaker("cached")
        strict = client.breaker("strict", mode="strict", when_unavailable="reject")
        assert client.ready(10)
        cached.execute(empty)
        kinds: dict[str, Callable[[Callable[[], None]], None]] = {
            "empty": through,
            "cached": cached.execute,
            "strict": strict.execute,
            "pybreaker": pybreaker.CircuitBreaker().call,
        }
        # Side by side: a round of each, again and again; the best is what the machine's noise hides least.
        best = dict.fromkeys(kinds, float("inf"))
        for _ in range(ROUNDS):
            for kind, work in kinds.items():
                best[kind] = min(best[kind], rate(work))
        for kind, nanoseconds in best.items():
            print(json.dumps({"language": "python", "what": kind, "ns_per_call": round(nanoseconds)}))
finally:
    server.kill()
