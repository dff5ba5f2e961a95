"""The scheduled job: the rates are fetched now and then, so that the cache has something to stand in with."""

import asyncio
import logging

from prometheus_client import Counter

import fuseboard
from shop.shop import Shop

log = logging.getLogger("shop")

RUNS = Counter(
    "shop_job_runs", "Runs of the scheduled job: done, skipped (its breaker was open) or failed.", ["result"]
)


async def refresh_rates(shop: Shop, every: float) -> None:
    """Runs until it is cancelled. A run that its breaker rejects is left out; the next one comes at its time."""
    while True:
        await asyncio.sleep(every)
        try:
            await shop.refresh_rates()
        except fuseboard.RejectedError:
            RUNS.labels("skipped").inc()
        except Exception as error:
            RUNS.labels("failed").inc()
            log.warning("the job has failed: %r", error)
        else:
            RUNS.labels("done").inc()
