"""A running stack as an operator meets it: its files, its commands, and a second one that is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stack.child import ROOT, command_line
from stack.harness import Stack, own_environment, running_stack
from stack.home import StackError
from tests.integration.driving import visit

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


def test_a_home_and_its_secrets_are_private(stack: Stack) -> None:
    assert stack.home.stat().st_mode & 0o777 == 0o700
    for name in ("stack.json", "credentials.json"):
        assert (stack.home / name).stat().st_mode & 0o777 == 0o600


def test_the_same_home_twice_is_refused_in_plain_words(stack: Stack) -> None:
    with pytest.raises(StackError, match=f"pid {stack.process.pid}.*BROWSA_HOME"), running_stack(stack.home):
        pass


def test_a_port_in_use_is_named(stack: Stack, tmp_path: Path) -> None:
    with (
        pytest.raises(StackError, match=f"Port {stack.port} .*BROWSA_PORT"),
        running_stack(tmp_path / "home", port=stack.port),
    ):
        pass


def test_manage_py_works_beside_a_running_stack(stack: Stack) -> None:
    environment = own_environment(os.environ) | {"BROWSA_HOME": str(stack.home)}

    done = subprocess.run(
        [sys.executable, "manage.py", "mint_key", "default", "--name", "test"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    key = done.stdout.strip()
    assert visit(f"{stack.api_url}/v1/credits", headers={"X-API-Key": key}).is_success


def test_the_runner_is_told_no_secret_of_the_api(stack: Stack) -> None:
    told = Path(f"/proc/{stack.pids['runner']}/environ").read_text()

    assert "BROWSA_MASTER_KEYS" not in told
    assert "DATABASE_URL" not in told
    assert "runner" in command_line(stack.pids["runner"])
