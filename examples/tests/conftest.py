"""What both apps run on. The servers live for the session, the breakers' server and two replicas for each app."""

from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import pytest

from external_api import ExternalApi
from fuseboard.v1 import admin_service_pb2, admin_service_pb2_grpc, policy_pb2
from processes import Fuseboard, Postgres, Redis, Shop


@dataclass
class World:
    """Two replicas and everything that they depend on."""

    postgres: Postgres
    redis: Redis
    api: ExternalApi
    fuseboard: Fuseboard
    first: Shop
    second: Shop


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A database."""
    server = Postgres()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    """A cache."""
    server = Redis()
    yield server
    server.kill()


@pytest.fixture(scope="module", params=["python", "typescript"])
def world(request: pytest.FixtureRequest, postgres: Postgres, redis: Redis) -> Iterator[World]:
    """The shop in one language. Only its second replica runs the job."""
    api = ExternalApi()
    api.start()
    fuseboard = Fuseboard()
    shorten_open_periods(fuseboard.address)
    environment = {
        "DATABASE_URL": postgres.url,
        "REDIS_URL": redis.url,
        "EXTERNAL_API_URL": api.url,
        "FUSEBOARD_ADDRESS": fuseboard.address,
    }
    shops: list[Shop] = []
    try:
        for number, seconds in ((1, "0"), (2, "1")):
            shops.append(Shop(request.param, number, {**environment, "REFRESH_SECONDS": seconds}))
        yield World(postgres, redis, api, fuseboard, *shops)
    finally:
        for shop in shops:
            print(f"--- {shop.name}\n{shop.log()}")
            shop.kill()
        fuseboard.remove()
        api.shutdown()
        api.server_close()


def shorten_open_periods(address: str) -> None:
    """What an operator may do at any time: a policy over the declared one, without a word to the services."""
    with grpc.insecure_channel(address) as channel:
        admin = admin_service_pb2_grpc.AdminServiceStub(channel)
        policy = policy_pb2.Policy()
        policy.open_duration.FromSeconds(3)
        request = admin_service_pb2.SetPolicyRequest(pattern="database", policy=policy, actor="test", reason="patience")
        admin.SetPolicy(request, timeout=10, wait_for_ready=True)
