"""Guards the requests of an `httpx` client: one breaker for each host, unless told otherwise.

    transport = GuardedTransport(fuseboard.Client())
    with httpx.Client(transport=transport) as http: ...

A rejected request raises `RejectedError`. Errors of the way there and answers of 5xx and 429 are failures, with the
answer's `Retry-After`; every other answer is a success: the host is well, whatever it thinks of the request.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable
from typing import Any

import httpx

from fuseboard import aio
from fuseboard.client import Client
from fuseboard.options import Verdict, printable_key

RETRY_AFTER_MAX_S = 86_400.0


def key_by_host(request: httpx.Request) -> str:
    """The key where none is given: `http/` and the host, with its port where that is not the usual one."""
    port = f":{request.url.port}" if request.url.port else ""
    return printable_key(f"http/{request.url.host}{port}")


def classify(response: Any, error: BaseException | None) -> Verdict:
    """What a request's end says of the host."""
    if isinstance(error, httpx.TimeoutException):
        return Verdict("timeout", type(error).__name__)
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.LocalProtocolError)):
        return Verdict("ignored", type(error).__name__)
    if error is not None:
        return Verdict("failure", type(error).__name__)
    if response.status_code >= 500 or response.status_code == 429:
        return Verdict("failure", f"http_{response.status_code}", retry_after(response.headers.get("retry-after")))
    return Verdict("success")


def retry_after(header: str | None) -> float:
    """Seconds that a `Retry-After` asks for; 0 where there is none, or none that can be read."""
    if not header:
        return 0.0
    try:
        wait = (
            float(header) if header.isdigit() else email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        )
    except (ValueError, OverflowError):
        return 0.0
    return min(max(wait, 0.0), RETRY_AFTER_MAX_S)


class GuardedTransport(httpx.BaseTransport):
    """For `httpx.Client`."""

    def __init__(
        self,
        client: Client,
        transport: httpx.BaseTransport | None = None,
        *,
        key: Callable[[httpx.Request], str] = key_by_host,
    ) -> None:
        self._client = client
        self._transport = transport or httpx.HTTPTransport()
        self._key = key

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request under its breaker."""
        guarded = self._client.breaker(self._key(request)).protect(classify=classify)
        return guarded(self._transport.handle_request)(request)

    def close(self) -> None:
        """Closes the transport underneath; the breakers' client is its owner's."""
        self._transport.close()


class AsyncGuardedTransport(httpx.AsyncBaseTransport):
    """For `httpx.AsyncClient`."""

    def __init__(
        self,
        client: aio.Client,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        key: Callable[[httpx.Request], str] = key_by_host,
    ) -> None:
        self._client = client
        self._transport = transport or httpx.AsyncHTTPTransport()
        self._key = key

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request under its breaker."""
        guarded = self._client.breaker(self._key(request)).protect(classify=classify)
        return await guarded(self._transport.handle_async_request)(request)

    async def aclose(self) -> None:
        """Closes the transport underneath; the breakers' client is its owner's."""
        await self._transport.aclose()
