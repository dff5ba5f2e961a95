"""Fixtures of the Python and grpcurl tests."""

import re
from collections.abc import Iterator

import pytest

from harness import Fuseboard


@pytest.fixture(scope="module")
def server() -> Iterator[Fuseboard]:
    """A server whose time stands still until it is advanced. Tests of a module share it and use keys of their own."""
    with Fuseboard("--manual-clock") as server:
        yield server


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A breaker key that no other test uses."""
    return re.sub(r"[^A-Za-z0-9._:/-]", "-", request.node.name)[:200]
