"""What the runner's client makes of a runner that does not answer as it should."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings

from apps.agents import control_client
from apps.agents.control_client import NotThere, RunnerAway, RunnerClient, ask, runner_session
from tests.fakes.runner import FakeRunner


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[str]:
    """The address of a runner that takes connections and says nothing."""
    path = tmp_path / "silent.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield f"unix:{path}"


def test_a_silent_runner_is_away(silent: str, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_client, "CONNECT_SECONDS", 0.05)
    monkeypatch.setitem(RunnerClient._ask.__kwdefaults__, "answer_seconds", 0.05)
    settings.RUNNER_URL = silent
    client = RunnerClient(silent, token="t")

    async def from_a_coroutine() -> None:
        try:
            await ask(runner_session(), "GET", "/status", bytes, seconds=0.1)
        finally:
            await control_client.close()

    try:
        with pytest.raises(RunnerAway):
            client.status()
    finally:
        client.close()
    with pytest.raises(RunnerAway):
        asyncio.run(from_a_coroutine())


def test_a_path_that_the_runner_does_not_know_is_told_apart(runner: FakeRunner, settings: LazySettings) -> None:
    client = RunnerClient(settings.RUNNER_URL, token="t")
    try:
        assert client.extend("agt_unknown", seconds=60) is None
        with pytest.raises(NotThere, match="can't be reached"):
            client._ask("GET", "/unknown", bytes)
    finally:
        client.close()
