"""The fakes that users put in place of a client."""

import asyncio

import httpx
import pytest

import fuseboard
from fuseboard.httpx import AsyncGuardedTransport, GuardedTransport, retry_after
from fuseboard.testing import FakeAioClient, FakeClient


def test_a_fake_stands_as_it_is_set_and_remembers_outcomes() -> None:
    with FakeClient() as client:
        breaker = client.breaker("payments")
        breaker.execute(int)
        client.set_open("payments", retry_after=12)
        with pytest.raises(fuseboard.RejectedError) as rejected:
            breaker.execute(int)
        assert (rejected.value.reason, round(rejected.value.retry_after)) == ("open", 12)
        client.set_isolated("payments")
        assert breaker.protect(fallback=lambda error: error.reason)(int)() == "caller_isolated"
        client.set_forced_open("payments")
        assert breaker.protect(fallback=lambda error: error.reason)(int)() == "forced_open"
        breaker.reset("test")
        with breaker.permit() as permit:
            permit.timeout()
        assert client.outcomes("payments") == ["success", "timeout"]
        assert breaker.state().totals.failures == 1


def test_the_asyncio_fake_is_the_same() -> None:
    async def story() -> None:
        async with FakeAioClient() as client:
            breaker = client.breaker("payments")
            client.set_open("payments")
            with pytest.raises(fuseboard.RejectedError):
                await breaker.execute(asyncio.sleep, 0)
            await breaker.reset()
            await breaker.execute(asyncio.sleep, 0)
            assert client.outcomes("payments") == ["success"]

    asyncio.run(story())


def test_a_guarded_transport_takes_5xx_and_broken_ways_for_failures_and_404_for_a_success() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/broken":
            raise httpx.ConnectError("refused")
        return httpx.Response(int(request.url.path[1:]), headers={"retry-after": "7"})

    client = FakeClient()
    with httpx.Client(transport=GuardedTransport(client, httpx.MockTransport(answer))) as http:
        assert [http.get(f"http://api.test/{code}").status_code for code in (200, 404, 503, 429)] == [
            200,
            404,
            503,
            429,
        ]
        with pytest.raises(httpx.ConnectError):
            http.get("http://api.test/broken")
        assert client.outcomes("http/api.test") == ["success", "success", "failure", "failure", "failure"]
        client.set_open("http/api.test")
        with pytest.raises(fuseboard.RejectedError):
            http.get("http://api.test/200")


def test_the_asyncio_transport_is_the_same() -> None:
    async def story() -> None:
        client = FakeAioClient()
        transport = AsyncGuardedTransport(client, httpx.MockTransport(lambda _: httpx.Response(500)))
        async with httpx.AsyncClient(transport=transport) as http:
            assert (await http.get("http://api.test:8080/")).status_code == 500
        assert client.outcomes("http/api.test:8080") == ["failure"]

    asyncio.run(story())


def test_a_retry_after_is_seconds_or_a_date_or_nothing() -> None:
    assert retry_after("7") == 7
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after("soon") == retry_after(None) == 0
