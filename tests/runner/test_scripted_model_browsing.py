"""The scripted model, asked by browser-use's agent in a real browser."""

from __future__ import annotations

import importlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.model import Click, Done, Extract, Navigate, ScriptedModel, Type
from tests.fakes.site import Site, html
from tests.patience import until
from tests.runner.harness import RunnerProcess

KEY = "sk-test-0123456789abcdef"
FORM = """<!doctype html><title>Sign in</title>
<form action="/in"><label for=e>Email:</label><input id=e name=mail><label>Word <input name=word></label>
<button>Sign <b>in</b></button></form>"""


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model


@pytest.fixture(autouse=True)
def _pages(site: Site) -> None:
    site.pages["/login"] = lambda query: html(FORM)
    site.pages["/in"] = lambda query: html(
        f"<title>In</title><p>Welcome {query['mail']} {query['word']}</p><script>fetch('/shown')</script>"
    )


@pytest.fixture
def browser_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The library, without telemetry, and with its files where they go away again."""
    for name, value in {
        "ANONYMIZED_TELEMETRY": "false",
        "BROWSER_USE_CLOUD_SYNC": "false",
        "BROWSER_USE_SETUP_LOGGING": "false",
        "BROWSER_USE_VERSION_CHECK": "false",
        "BROWSER_USE_CONFIG_DIR": str(tmp_path / "config"),
        "PYTHON_DOTENV_DISABLED": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return importlib.import_module("browser_use")


@pytest.mark.integration
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("provider", ["anthropic", "openai"])
async def test_browser_use_plays_a_script(
    model: ScriptedModel, site: Site, runner: RunnerProcess, browser_use: Any, provider: str
) -> None:
    reading = Extract("who is welcome", lambda prompt: re.search("Welcome (.*)", prompt)[1])

    def read_what_is_there(prompt: str) -> Extract:
        until(lambda: "/shown" in site.paths(), what="the page behind the form")
        return reading

    site.requests.clear()
    model.play(
        "login",
        [
            Navigate(site.url("/login")),
            [Type("Email", "al@x.test"), Type("Word", "sesame"), Click("Sign in")],
            read_what_is_there,
            lambda prompt: Done(re.search("<result>\n(.*)\n</result>", prompt)[1]),
            reading,  # where the model finds the answer; it is no step any more
        ],
    )
    import anthropic  # here, as every process of a run collects this file
    import openai

    chat, name, http = {
        "anthropic": (browser_use.ChatAnthropic, "claude-login", anthropic.DefaultAsyncHttpxClient),
        "openai": (browser_use.ChatOpenAI, "gpt-login", openai.DefaultAsyncHttpxClient),
    }[provider]

    # browser-use makes a client for each call and closes none: they share one that is closed.
    async with runner.lease() as lease, http() as shared:
        llm = chat(model=name, api_key=KEY, base_url=model.base_url, http_client=shared)
        browser = browser_use.BrowserSession(cdp_url=lease.cdp_http)
        agent = browser_use.Agent("Sign in.", llm=llm, browser_session=browser, enable_signal_handler=False)
        history = await agent.run(max_steps=6)

    assert [error for error in history.errors() if error] == []
    assert (history.final_result(), history.is_successful()) == ("al@x.test sesame", True)
    assert [(seen.kind, seen.step, seen.has_image) for seen in model.requests] == [
        ("step", 1, False),  # of an empty tab there is no picture
        ("step", 2, True),
        ("step", 3, True),
        ("extract", None, False),
        ("step", 4, True),
        ("judge", None, True),
    ]
    assert {(seen.provider, seen.api_key) for seen in model.requests} == {(provider, KEY)}
