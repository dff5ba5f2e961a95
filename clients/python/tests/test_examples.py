"""The examples and the README's snippets, run."""

import asyncio
import importlib.util
import re
from pathlib import Path

import httpx
import pytest

from conftest import Server

ROOT = Path(__file__).resolve().parents[1]


def test_the_fastapi_example_answers_503_with_retry_after_once_the_provider_is_down(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSEBOARD_ADDRESS", server.address)
    # Nothing listens there.
    monkeypatch.setenv("PROVIDER_URL", "http://127.0.0.1:1")
    spec = importlib.util.spec_from_file_location("fastapi_app", ROOT / "examples" / "fastapi_app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    async def story() -> None:
        app = module.app
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://app") as http,
        ):
            for _ in range(5):
                with pytest.raises(httpx.ConnectError):
                    await http.get("/balance")
            answer = await http.get("/balance")
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["breaker"] == "http/127.0.0.1:1"

    asyncio.run(story())


def snippets() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_readmes_snippets_run_one_after_the_other(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSEBOARD_ADDRESS", server.address)
    assert len(snippets()) >= 6
    names: dict[str, object] = {"__name__": "readme"}
    for snippet in snippets():
        exec(compile(snippet, "README.md", "exec"), names)
