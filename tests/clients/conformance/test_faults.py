"""Every fault with every client."""

import pytest

from conformance.faults import FAULTS, Fault, storm
from conformance.playing import Plays

# The first test of a client waits until all of its faults have happened and are over, each of which is bounded.
pytestmark = pytest.mark.timeout(600)

STORM_S = 120.0
SEEDS = (1, 2, 3)


@pytest.mark.parametrize(
    "fault",
    [
        *(pytest.param(fault, id=fault.name) for fault in FAULTS),
        *(pytest.param(storm(seed, STORM_S), id=f"storm {seed}", marks=pytest.mark.campaign) for seed in SEEDS),
    ],
)
def test_a_client_bears_it(language: str, fault: Fault, plays: Plays) -> None:
    borne = plays.borne(language)[fault.name]
    told = f"{borne.calls} calls, the slowest {borne.slowest_ms:.0f} ms, as before after {borne.converged_s:.1f} s"
    print(f"{language}, {fault.name}: {told}")
    if borne.problem:
        pytest.fail(f"{language}, {fault.name} ({told})\n{borne.problem}", pytrace=False)
