"""A FastAPI service whose calls to a payment provider are guarded. Run it with `uvicorn fastapi_app:app`.

A rejected call becomes a 503 with a Retry-After, for every route at once.
"""

import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

import fuseboard
from fuseboard import aio
from fuseboard.httpx import AsyncGuardedTransport

PROVIDER = os.environ.get("PROVIDER_URL", "http://127.0.0.1:8081")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The breakers' client and the guarded HTTP client live as long as the app."""
    async with (
        aio.Client() as breakers,
        httpx.AsyncClient(transport=AsyncGuardedTransport(breakers), timeout=2) as http,
    ):
        app.state.http = http
        yield


app = FastAPI(lifespan=lifespan)


@app.exception_handler(fuseboard.RejectedError)
async def rejected(_request: Request, error: fuseboard.RejectedError) -> JSONResponse:
    """What a caller is told instead of being kept waiting."""
    wait = max(1, math.ceil(error.retry_after))
    body = {"error": "unavailable", "breaker": error.breaker, "reason": error.reason}
    return JSONResponse(body, status_code=503, headers={"Retry-After": str(wait)})


@app.get("/balance")
async def balance(request: Request) -> JSONResponse:
    """Asks the provider, which may be down."""
    answer = await request.app.state.http.get(f"{PROVIDER}/balance")
    return JSONResponse({"status": answer.status_code}, status_code=200 if answer.is_success else 502)
