"""What the shop depends on: a database, a cache and an API of others. None of them knows of breakers."""

import json
from typing import Any

import asyncpg
import httpx
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from shop.settings import CALL_TIMEOUT_SECONDS, DATABASE_URL, EXTERNAL_API_URL, REDIS_URL

CALLS = Counter(
    "shop_calls", "Calls that were made, by dependency: those that a breaker rejects are none.", ["dependency"]
)


#: What they raise while they are down. A timeout is an `OSError` too.
DEPENDENCY_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, RedisError, httpx.HTTPError)


class Database:
    """PostgreSQL. Connects with the first query, so the shop starts without it."""

    def __init__(self) -> None:
        self._pool = asyncpg.create_pool(DATABASE_URL, min_size=0, max_size=10, timeout=CALL_TIMEOUT_SECONDS)

    async def open(self) -> None:
        """Makes the pool, which holds no connection yet."""
        await self._pool

    async def product(self, product_id: int) -> dict[str, Any] | None:
        """The product, or `None` where there is none with this id."""
        CALLS.labels("database").inc()
        row = await self._pool.fetchrow("SELECT id, name, price_cents FROM products WHERE id = $1", product_id)
        return dict(row) if row else None

    async def close(self) -> None:
        """Ends the connections."""
        self._pool.terminate()


class Cache:
    """Redis, holding the last good answers as JSON."""

    def __init__(self) -> None:
        self._redis = Redis.from_url(
            REDIS_URL,
            socket_timeout=CALL_TIMEOUT_SECONDS,
            socket_connect_timeout=CALL_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),  # The breaker decides whether to try again.
        )

    async def get(self, key: str) -> Any:
        """What was put there, or `None`."""
        CALLS.labels("cache").inc()
        held = await self._redis.get(key)
        return None if held is None else json.loads(held)

    async def put(self, key: str, value: Any) -> None:
        """Keeps the value for an hour."""
        CALLS.labels("cache").inc()
        await self._redis.set(key, json.dumps(value), ex=3600)

    async def close(self) -> None:
        """Ends the connections."""
        await self._redis.aclose()


class ExternalApi:
    """Somebody else's HTTP API."""

    def __init__(self) -> None:
        self._http = httpx.AsyncClient(timeout=CALL_TIMEOUT_SECONDS)

    async def rates(self) -> Any:
        """Its answer. An answer of 4xx or 5xx is an error."""
        CALLS.labels("external-api").inc()
        answer = await self._http.get(EXTERNAL_API_URL)
        return answer.raise_for_status().json()

    async def close(self) -> None:
        """Ends the connections."""
        await self._http.aclose()
