"""A server that comes back is not run over by its clients."""

import asyncio

import pytest

from conformance import drivers
from conformance.fleet import CLIENTS, PROCESSES, come_back, spread_s

# In `make test`; the others in the campaign.
QUICK = ("go", "python")
FLEET = PROCESSES * CLIENTS

# Each draws its moment from a second or more, so a tenth of a second should see a tenth of them. What is bounded is a
# part of the fleet, never most of it at once.
AT_ONCE = FLEET // 2
# A machine that is held up bunches tenths together, now and then; clients that stampede do so every time.
ATTEMPTS = 3
# A connection, a session, a watch, a declaration, a look at the policy, and each of them once more.
REQUESTS = 10


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "fleet_of",
    [
        pytest.param(language, marks=() if language in QUICK or len(drivers.known()) == 1 else pytest.mark.campaign)
        for language in drivers.known()
    ],
)
def test_a_fleet_does_not_stampede_a_server_that_returns(fleet_of: str) -> None:
    assert any(spreads(fleet_of) for _ in range(ATTEMPTS)), "most of the fleet has come at once, every time"


def spreads(language: str) -> bool:
    """Whether a fleet comes back one after the other. That it comes back, and with how much, holds every time."""
    met = asyncio.run(come_back(drivers.known()[language]))
    for kind in met.counts:
        spread = f"over {spread_s(met.counts[kind]):.1f} s"
        print(f"{language}: {met.total(kind)} {kind} {spread}, at most {met.most(kind)} in 100 ms")
    assert met.ready == FLEET, "every client is whole again"
    assert met.permitted == FLEET
    assert met.total("connections") <= 2 * FLEET
    assert met.total("requests") <= REQUESTS * FLEET
    return met.most("connections") <= AT_ONCE and met.most("requests") <= 2 * AT_ONCE
