"""A server that comes back is not run over by its clients."""

import asyncio

import pytest

from conformance import drivers
from conformance.fleet import CLIENTS, PROCESSES, come_back, spread_s

# In `make test`; the others in the campaign.
QUICK = ("go", "python")
FLEET = PROCESSES * CLIENTS

# Each draws its moment from a second or more, so a tenth of a second should see a tenth of them. A machine that is busy
# bunches a few tenths together: what is bounded is a part of the fleet, never most of it at once.
AT_ONCE = FLEET // 2
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
    met = asyncio.run(come_back(drivers.known()[fleet_of]))
    for kind in met.counts:
        spread = f"over {spread_s(met.counts[kind]):.1f} s"
        print(f"{fleet_of}: {met.total(kind)} {kind} {spread}, at most {met.most(kind)} in 100 ms")
    assert met.ready == FLEET, "every client is whole again"
    assert met.permitted == FLEET
    assert met.most("connections") <= AT_ONCE
    assert met.total("connections") <= 2 * FLEET
    assert met.most("requests") <= 2 * AT_ONCE
    assert met.total("requests") <= REQUESTS * FLEET
