"""Fixtures of the Python tests."""

import pytest

from api import Api
from harness import Fuseboard


@pytest.fixture(scope="module")
def api(server: Fuseboard) -> Api:
    """The shared server's services."""
    return Api(server)
