"""The whole story of both apps, in the order of the file: each test leaves everything well and the breakers closed."""

import time
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect

from conftest import World
from processes import Shop, until


@pytest.fixture(autouse=True)
def closed_again(world: World) -> Iterator[None]:
    """Every test begins and ends healthy."""
    yield
    world.api.mode = "well"
    for breaker in world.first.get("/health").json()["breakers"]:
        world.first.http.post(f"/admin/breaker/{breaker['name']}/reset")
    for shop in (world.first, world.second):
        until(lambda shop=shop: shop.get("/health").status_code == 200, f"{shop.name} is healthy")


def source(shop: Shop, path: str) -> str:
    """Where an answer came from."""
    return str(shop.get(path).json().get("source"))


def test_all_is_well(world: World) -> None:
    for shop in (world.first, world.second):
        assert shop.get("/products/1").json() == {
            "source": "database",
            "data": {"id": 1, "name": "Teapot", "price_cents": 2450},
        }
        assert source(shop, "/rates") == "external-api"
        assert shop.get("/products/99").status_code == 404
        assert shop.get("/partners/nobody").status_code == 404
        assert shop.get("/partners/fast").status_code == 200
        health = shop.get("/health")
        assert health.status_code == 200
        assert health.json()["status"] == "healthy"
        assert shop.breaker("database") == {"name": "database", "state": "closed", "failures": 0, "open": False}


def test_a_dead_database_opens_the_breaker_for_both_replicas_and_closes_it_when_it_is_back(world: World) -> None:
    first, second = world.first, world.second
    until(lambda: source(second, "/products/1") == "database", "the second reads the database")
    opens, closes, failures = (first.metric(f'breaker_{what}_total{{breaker="database"}}') for what in TOTALS)
    asked = second.metric(DATABASE_CALLS)
    world.postgres.kill()
    for _ in range(5):
        assert source(first, "/products/1") == "cache"
    # A success of the second that is told late may have cleared the failures in a row once.
    until(lambda: source(first, "/products/1") == "cache" and first.breaker("database")["open"], "it opens")
    for shop in (first, second):
        until(lambda shop=shop: shop.breaker("database")["open"], f"{shop.name} knows")
        health = shop.get("/health")
        assert (health.status_code, health.json()["status"]) == (503, "degraded")
    start = time.monotonic()
    assert source(second, "/products/1") == "cache"
    assert time.monotonic() - start < 1, "it answers without waiting for the database"
    assert second.metric(DATABASE_CALLS) == asked, "the second has never asked the dead database"
    with connect(second.websocket) as prices:
        prices.send("1")
        assert '"breaker":"database"' in str(prices.recv(5)).replace(" ", "")
        world.postgres.start()

        def has_price() -> bool:
            prices.send("1")
            return "2450" in str(prices.recv(5))

        until(has_price, "a probe of the same socket has closed the breaker")
    until(lambda: source(first, "/products/1") == "database", "the first reads the database again")
    for shop in (first, second):
        until(lambda shop=shop: shop.get("/health").status_code == 200, f"{shop.name} is healthy")
        now = [shop.metric(f'breaker_{what}_total{{breaker="database"}}') for what in TOTALS]
        # A probe before the database was back opens it once more; each such probe is a failure.
        again = now[0] - opens - 1
        assert now[:2] == [opens + 1 + again, closes + 1], "both replicas tell the fleet's numbers"
        assert now[2] >= failures + 5 + again
        last = [
            shop.metric(f'breaker_last_{what}_timestamp_seconds{{breaker="database"}}') for what in ("open", "close")
        ]
        assert 0 < time.time() - last[1] <= time.time() - last[0] < 120


def test_a_failing_api_is_answered_from_the_cache_and_the_job_is_left_out(world: World) -> None:
    first, second = world.first, world.second
    until(lambda: second.metric('shop_job_runs_total{result="done"}') >= 1, "the job has run")
    assert source(first, "/rates") == "external-api"
    skipped = second.metric('shop_job_runs_total{result="skipped"}')
    world.api.mode = "failing"
    for _ in range(3):
        assert source(first, "/rates") == "cache"
    for shop in (first, second):
        until(lambda shop=shop: shop.breaker("external-api")["open"], f"{shop.name} is degraded")
        calls = shop.metric('shop_calls_total{dependency="external-api"}')
        assert source(shop, "/rates") == "cache"
        assert shop.metric('shop_calls_total{dependency="external-api"}') == calls, "it was not called"
    until(lambda: second.metric('shop_job_runs_total{result="skipped"}') > skipped, "the job is left out")


def test_the_admin_route_closes_a_breaker_for_all_and_knows_no_others(world: World) -> None:
    world.api.mode = "failing"
    for _ in range(3):
        world.first.get("/rates")
    until(lambda: world.second.breaker("external-api")["open"], "it is open")
    world.api.mode = "well"
    assert world.second.http.post("/admin/breaker/external-api/reset").status_code == 200
    until(lambda: source(world.first, "/rates") == "external-api", "the first calls again")
    assert world.first.http.post("/admin/breaker/nobody/reset").status_code == 404


def test_a_cache_that_is_down_spoils_no_answer(world: World) -> None:
    world.redis.kill()
    for _ in range(10):
        assert source(world.first, "/products/2") == "database"
    until(lambda: world.second.breaker("cache")["open"], "ten failures open it")
    assert source(world.second, "/products/2") == "database"
    world.redis.start()


def test_each_preset_opens_at_its_own_count(world: World) -> None:
    world.api.mode = "failing"
    for name, threshold in (("sensitive", 1), ("fast", 2), ("slow", 10), ("tolerant", 20)):
        answers = [world.first.get(f"/partners/{name}") for _ in range(threshold + 1)]
        assert [answer.status_code for answer in answers] == [502] * threshold + [503], name
        assert int(answers[-1].headers["Retry-After"]) >= 1


def test_the_adaptive_breaker_tightens_by_the_fleets_numbers_and_loses_no_state(world: World) -> None:
    first, second = world.first, world.second
    world.api.mode = "flaky"
    # Failures are told at once, successes up to 100 ms later: the failures alone come to more than 100.
    for shop in [first, second] * 100:
        shop.get("/partners/adaptive")
    failures = first.metric('breaker_failures_total{breaker="partner-adaptive"}')
    assert failures > 50, "the totals have outlived the change of the policy"
    world.api.mode = "failing"
    for shop in (first, second):
        until(lambda shop=shop: shop.get("/partners/adaptive").status_code == 503, "it opens for both")
        assert int(shop.get("/partners/adaptive").headers["Retry-After"]) > 10, "for 60 s now, no longer for 10 s"
    assert first.metric('breaker_failures_total{breaker="partner-adaptive"}') < failures + 20, (
        "by three failures, not 20"
    )


def test_without_fuseboard_the_shop_goes_on_by_breakers_of_its_own(world: World) -> None:
    first = world.first
    world.fuseboard.kill()
    assert source(first, "/products/1") == "database"
    until(lambda: not first.get("/health").json()["fuseboard"], "health says so")
    assert first.metric("fuseboard_up") == 0
    assert first.http.post("/admin/breaker/database/reset").status_code == 503
    world.api.mode = "failing"
    until(lambda: first.get("/partners/sensitive").status_code == 503, "the breaker of its own opens")
    world.api.mode = "well"
    world.fuseboard.start()
    for shop in (first, world.second):
        until(lambda shop=shop: shop.get("/health").json()["fuseboard"], "the server is back", 30)
    # What failed meanwhile and is younger than 10 s has been told since, and may have opened it for all.
    until(lambda: first.http.post("/admin/breaker/partner-sensitive/reset").status_code == 200, "the server resets it")
    until(lambda: first.get("/partners/sensitive").status_code == 200, "the server decides again")


TOTALS = ("opens", "closes", "failures")
DATABASE_CALLS = 'shop_calls_total{dependency="database"}'
