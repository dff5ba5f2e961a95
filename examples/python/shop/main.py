"""The app: its routes, and what lives as long as it does. Run it with `uvicorn shop.main:app`."""

import asyncio
import json
import logging
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

import fuseboard
from fuseboard import aio
from shop import jobs, operations
from shop.breakers import Breakers
from shop.dependencies import DEPENDENCY_ERRORS, Cache, Database, ExternalApi
from shop.settings import REFRESH_SECONDS
from shop.shop import NotFoundError, Shop

log = logging.getLogger("shop")
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
logging.getLogger("httpx").setLevel(logging.WARNING)


def on_event(event: fuseboard.Event) -> None:
    """Says what happens to the breakers, whichever replica caused it."""
    if event.kind == "opened":
        log.warning("breaker %s is open: %s, after %d failures", event.breaker, event.reason, event.failures)
    elif event.kind in ("closed", "reset"):
        log.info("breaker %s is closed: %s", event.breaker, event.reason or event.kind)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Nothing that is down keeps the shop from starting."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(aio.Client())
        client.on_event(on_event)
        breakers = Breakers(client)
        database, cache, api = Database(), Cache(), ExternalApi()
        for dependency in (database, cache, api):
            stack.push_async_callback(dependency.close)
        await database.open()
        app.state.shop = Shop(breakers, database, cache, api)
        if not await client.ready(timeout=2):
            log.warning("the breakers' server does not answer: breakers of this process stand in")
        if REFRESH_SECONDS:
            job = asyncio.create_task(jobs.refresh_rates(app.state.shop, REFRESH_SECONDS))
            stack.callback(job.cancel)
        yield


app = FastAPI(title="Shop", lifespan=lifespan)


@app.exception_handler(NotFoundError)
async def not_found(_request: Request, error: NotFoundError) -> JSONResponse:
    """Nothing by that name."""
    return JSONResponse({"error": str(error)}, 404)


@app.exception_handler(fuseboard.RejectedError)
async def rejected(_request: Request, error: fuseboard.RejectedError) -> JSONResponse:
    """A breaker is open and nothing could stand in: when to come back."""
    wait = {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
    return JSONResponse({"error": "unavailable", "breaker": error.breaker, "reason": error.reason}, 503, wait)


async def failed(_request: Request, error: Exception) -> JSONResponse:
    """A dependency failed and nothing could stand in."""
    return JSONResponse({"error": f"a dependency has failed: {type(error).__name__}"}, 502)


for error in DEPENDENCY_ERRORS:
    app.add_exception_handler(error, failed)


@app.get("/products/{product_id}")
async def product(product_id: int, request: Request) -> dict[str, Any]:
    """From the database, else from the cache."""
    shop: Shop = request.app.state.shop
    return await shop.product(product_id)


@app.get("/rates")
async def rates(request: Request) -> dict[str, Any]:
    """From the external API, else what was cached."""
    shop: Shop = request.app.state.shop
    return await shop.rates()


@app.get("/partners/{name}")
async def partner(name: str, request: Request) -> Any:
    """The external API under the breaker `fast`, `slow`, `sensitive`, `tolerant` or `adaptive`."""
    shop: Shop = request.app.state.shop
    return await shop.partner(name)


@app.websocket("/prices")
async def prices(socket: WebSocket) -> None:
    """Send a product's number, get its price. A rejected message is answered, and the socket stays open."""
    shop: Shop = socket.app.state.shop
    await socket.accept()
    try:
        while True:
            await socket.send_text(json.dumps(await _price(shop, await socket.receive_text())))
    except WebSocketDisconnect:
        return


async def _price(shop: Shop, message: str) -> dict[str, Any]:
    try:
        return {"price_cents": await shop.price(int(message))}
    except fuseboard.RejectedError as error:
        return {"error": "unavailable", "breaker": error.breaker, "retry_after": error.retry_after}
    except (ValueError, NotFoundError) as error:
        return {"error": str(error)}
    except Exception as error:
        log.warning("a price could not be told: %r", error)
        return {"error": "failed"}


@app.get("/health")
async def health(request: Request) -> JSONResponse:
    """503 and `degraded` while a breaker is open."""
    report = await operations.health(request.app.state.shop.breakers)
    return JSONResponse(report, 200 if report["status"] == "healthy" else 503)


@app.post("/admin/breaker/{name}/reset")
async def reset(name: str, request: Request) -> dict[str, str]:
    """Closes a breaker by hand, for all replicas. In earnest, put your own login before it."""
    breaker = request.app.state.shop.breakers.by_name.get(name)
    if breaker is None:
        raise HTTPException(404, f"there is no breaker {name}")
    try:
        await breaker.reset(reason="by hand", actor="admin")
    except fuseboard.ServerError as error:
        raise HTTPException(503, "the breakers' server does not answer") from error
    return {"reset": name}


@app.get("/metrics")
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    return Response(await operations.metrics(request.app.state.shop.breakers), media_type=CONTENT_TYPE_LATEST)
