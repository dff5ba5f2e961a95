"""Every scenario with every client."""

import pytest

from conformance import drivers, scenarios, table
from conformance.playing import Plays
from conformance.scenarios import Scenario

# The first test of a client waits until all of its scenarios are played, each of which is bounded.
pytestmark = pytest.mark.timeout(600)


def test_a_client_behaves_as_the_scenario_says(language: str, scenario: Scenario, plays: Plays) -> None:
    played = plays.of(language)[scenario.id]
    if played.problem:
        pytest.fail(f"{language}, {scenario.id}\n{played.problem}", pytrace=False)


def test_the_table_of_the_clients_page_is_what_this_run_gives(plays: Plays, pytestconfig: pytest.Config) -> None:
    everything = {scenario.id for scenario in scenarios.load()}
    if set(plays.results) != set(drivers.LANGUAGES) or any(set(it) != everything for it in plays.results.values()):
        pytest.skip("not all scenarios were played with all clients")
    rendered = table.render(scenarios.load(), {language: plays.results[language] for language in drivers.LANGUAGES})
    if pytestconfig.getoption("write_table"):
        table.write(rendered)
    assert table.written() == rendered, "the runner's --write-table writes it anew"
