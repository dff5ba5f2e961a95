"""The shop's own work: each answer has a fallback, and says where it came from."""

import logging
from typing import Any

from shop.breakers import Breakers
from shop.dependencies import Cache, Database, ExternalApi

log = logging.getLogger("shop")


class NotFoundError(Exception):
    """Nothing by that name."""


class Shop:
    """Products from the database or the cache, rates from the external API or the cache."""

    def __init__(self, breakers: Breakers, database: Database, cache: Cache, api: ExternalApi) -> None:
        self.breakers = breakers
        self._database = database
        self._cache = cache
        self._api = api

    async def product(self, product_id: int) -> dict[str, Any]:
        """The product, as fresh as can be had now.

        :raises NotFoundError: where there is none.
        """
        key = f"product:{product_id}"
        try:
            product = await self.breakers.database.execute(self._database.product, product_id)
        except Exception as error:
            return await self._remembered(key, error)
        if product is None:
            raise NotFoundError(f"there is no product {product_id}")
        await self._remember(key, product)
        return {"source": "database", "data": product}

    async def price(self, product_id: int) -> int:
        """The price in cents, from the database or not at all: an old one would be a wrong one."""
        product = await self.breakers.database.execute(self._database.product, product_id)
        if product is None:
            raise NotFoundError(f"there is no product {product_id}")
        return int(product["price_cents"])

    async def rates(self) -> dict[str, Any]:
        """The rates, as fresh as can be had now."""
        try:
            return {"source": "external-api", "data": await self.refresh_rates()}
        except Exception as error:
            return await self._remembered("rates", error)

    async def refresh_rates(self) -> Any:
        """Fetches the rates and remembers them. The scheduled job does this too."""
        rates = await self.breakers.external_api.execute(self._api.rates)
        await self._remember("rates", rates)
        return rates

    async def partner(self, name: str) -> Any:
        """The external API under one of the presets, or under the breaker that tightens itself.

        :raises NotFoundError: where there is no such preset.
        """
        partner = self.breakers.partners.get(name)
        if partner is None:
            raise NotFoundError(f"there is no partner {name}: say one of {', '.join(self.breakers.partners)}")
        return await partner.execute(self._api.rates)

    async def _remembered(self, key: str, error: Exception) -> dict[str, Any]:
        """What the cache holds; the first error where it holds nothing or fails itself."""
        try:
            data = await self.breakers.cache.execute(self._cache.get, key)
        except Exception as second:
            log.warning("the cache cannot stand in: %s", second)
            data = None
        if data is None:
            raise error
        return {"source": "cache", "data": data}

    async def _remember(self, key: str, value: Any) -> None:
        """Keeps what may be needed later. A cache that fails spoils no answer."""
        try:
            await self.breakers.cache.execute(self._cache.put, key, value)
        except Exception as error:
            log.warning("the cache does not take %s: %s", key, error)
