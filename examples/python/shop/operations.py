"""What operators look at: health and metrics, by the numbers of the breakers' server."""

import asyncio
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import fuseboard
from fuseboard.v1.breaker_pb2 import OverrideMode, State
from fuseboard.v1.breaker_service_pb2 import GetStateResponse
from shop.breakers import Breakers

STATES = {State.STATE_CLOSED: "closed", State.STATE_OPEN: "open", State.STATE_HALF_OPEN: "half_open"}


async def states(breakers: Breakers) -> dict[str, GetStateResponse]:
    """The server's word on each breaker; empty where it cannot be asked."""
    try:
        answers = await asyncio.gather(*(breaker.state() for breaker in breakers.by_name.values()))
    except fuseboard.ServerError:
        return {}
    return dict(zip(breakers.by_name, answers, strict=True))


async def health(breakers: Breakers) -> dict[str, Any]:
    """Every breaker, and `degraded` while one of them is open.

    Without the server this process tells what it knows itself; `failures` is then not known.
    """
    known = await states(breakers)
    report = [_told(name, known[name]) for name in known] or [
        _remembered(breaker) for breaker in breakers.by_name.values()
    ]
    degraded = any(breaker["open"] for breaker in report)
    return {"status": "degraded" if degraded else "healthy", "fuseboard": bool(known), "breakers": report}


def _told(name: str, answer: GetStateResponse) -> dict[str, Any]:
    status = answer.status
    held_open = status.override_mode == OverrideMode.OVERRIDE_MODE_FORCED_OPEN
    is_open = held_open or status.state == State.STATE_OPEN
    return {"name": name, "state": STATES[status.state], "failures": status.failures, "open": is_open}


def _remembered(breaker: fuseboard.aio.Breaker) -> dict[str, Any]:
    view = breaker.view()
    state = view["state"] if view else "closed"
    is_open = state == "open" or (view is not None and view["override"] == "forced_open")
    return {"name": breaker.key, "state": state, "failures": None, "open": is_open}


async def metrics(breakers: Breakers) -> bytes:
    """Prometheus' text: this process' own numbers, and the breakers' as the server has them.

    The latter are the whole fleet's and the same on every replica: `max by (breaker)` counts nothing twice.
    """
    registry = CollectorRegistry()
    registry.register(_Totals(await states(breakers)))
    return generate_latest(REGISTRY) + generate_latest(registry)


class _Totals(Collector):
    """The totals of one moment, as metrics."""

    def __init__(self, known: dict[str, GetStateResponse]) -> None:
        self._known = known

    def collect(self) -> list[Metric]:
        label = ["breaker"]
        up = GaugeMetricFamily("fuseboard_up", "1: the breakers' server has answered. 0: their numbers are left out.")
        up.add_metric([], bool(self._known))
        opens = CounterMetricFamily("breaker_opens", "Times it went to open, in the fleet.", labels=label)
        closes = CounterMetricFamily(
            "breaker_closes", "Times it went from half-open to closed, in the fleet.", labels=label
        )
        failures = CounterMetricFamily("breaker_failures", "Failed calls, of the whole fleet.", labels=label)
        last_open = GaugeMetricFamily("breaker_last_open_timestamp_seconds", "When it last went to open.", labels=label)
        last_close = GaugeMetricFamily("breaker_last_close_timestamp_seconds", "When it last closed.", labels=label)
        for name, answer in self._known.items():
            totals = answer.totals
            opens.add_metric([name], totals.opens)
            closes.add_metric([name], totals.closes)
            failures.add_metric([name], totals.failures)
            if totals.HasField("last_open_time"):
                last_open.add_metric([name], totals.last_open_time.ToMilliseconds() / 1e3)
            if totals.HasField("last_close_time"):
                last_close.add_metric([name], totals.last_close_time.ToMilliseconds() / 1e3)
        return [up, opens, closes, failures, last_open, last_close]
