"""Options and fixtures of the conformance tests."""

from typing import Any

import pytest

from conformance import drivers, scenarios
from conformance.playing import Plays


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-table",
        action="store_true",
        help="write the table of clients/README.md from this run, instead of comparing it",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "language" in metafunc.fixturenames:
        metafunc.parametrize("language", list(drivers.known()), scope="session")
    if "scenario" in metafunc.fixturenames:
        metafunc.parametrize("scenario", scenarios.load(), ids=lambda scenario: scenario.id)


@pytest.fixture(scope="session")
def plays(request: pytest.FixtureRequest) -> Plays:
    """What was played in this run: a client's selected scenarios are all played at its
    first, and so are its faults."""
    chosen: dict[str, dict[str, list[Any]]] = {"scenario": {}, "fault": {}}
    for item in request.session.items:
        params = getattr(getattr(item, "callspec", None), "params", {})
        for kind, by_language in chosen.items():
            if "language" in params and kind in params:
                by_language.setdefault(params["language"], []).append(params[kind])
    return Plays(chosen["scenario"], chosen["fault"])
