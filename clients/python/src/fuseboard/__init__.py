"""Fuseboard's client: circuit breakers that a server keeps for services in any language.

    client = fuseboard.Client(caller="web/1")
    payments = client.breaker("payments", policy=fuseboard.Policy(failure_threshold=5, open_duration=30))
    payments.execute(charge, order)

`fuseboard.aio` is the same for asyncio, `fuseboard.testing` stands in for a client in unit tests.
"""

from fuseboard._calls import Stats
from fuseboard.client import Breaker, Client, Permit
from fuseboard.errors import BreakerNotFoundError, CallTimeoutError, FuseboardError, RejectedError, ServerError
from fuseboard.events import Event
from fuseboard.options import CountWindow, OpenBackoff, Outcome, Policy, TimeWindow, Tls, Verdict

__all__ = [
    "Breaker",
    "BreakerNotFoundError",
    "CallTimeoutError",
    "Client",
    "CountWindow",
    "Event",
    "FuseboardError",
    "OpenBackoff",
    "Outcome",
    "Permit",
    "Policy",
    "RejectedError",
    "ServerError",
    "Stats",
    "TimeWindow",
    "Tls",
    "Verdict",
]

__version__ = "0.1.0"
