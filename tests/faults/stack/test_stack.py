"""The whole stack as an operator meets it: started, killed, restarted, two at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack import remains
from stack.child import ROOT
from stack.harness import Stack, free_port, own_environment, running_stack
from stack.home import locate
from stack.launch import adopt_orphans
from stack.servers import embedded_servers
from tests.integration.driving import answers, visit
from tests.patience import PATIENCE, until
from tests.template import running_stack as running_copy

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="counts processes in /proc"),
]

SMALL = {"BROWSA_POOL_SIZE": "1", "BROWSA_MAX_BROWSERS": "1"}
NAMES = {"supervisor", "postgres", "redis", "api", "worker", "beat", "runner"}


@pytest.fixture(scope="module", autouse=True)
def _orphans_stay_in_sight() -> None:
    adopt_orphans()


@pytest.fixture
def before() -> frozenset[int]:
    """What ran below the tests already: other fixtures' servers."""
    return remains.now()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_copy(tmp_path_factory.mktemp("stack") / "home", env=SMALL) as stack:
        yield stack


def balance(stack: Stack) -> int:
    answer = visit(f"{stack.api_url}/v1/credits", headers={"X-API-Key": stack.api_key})
    answer.raise_for_status()
    credits: int = answer.json()["balance"]
    return credits


def test_however_a_stack_ends_beside_another_nothing_is_left_and_the_next_one_finds_everything(
    stack: Stack, tmp_path: Path, before: frozenset[int]
) -> None:
    home, port = tmp_path / "home", free_port()
    keys = set()
    for end in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with running_stack(home, port, env=SMALL) as other:
            keys.add(other.api_key)
            assert balance(other) == balance(stack) == 100
            assert other.pids.keys() == NAMES
            assert other.printed().count("ready http://") == 1
            refused = visit(f"{other.api_url}/v1/credits", headers={"X-API-Key": stack.api_key})
            assert refused.status_code == 401
            assert other.stop(end, PATIENCE) == (-end if end == signal.SIGKILL else 0)
            assert remains.wait_for_none(PATIENCE, before) == {}, f"after {end.name}"
            assert balance(stack) == 100
        assert locate(home).sockets.exists() == (end == signal.SIGKILL)

    with embedded_servers(home):
        pass  # the killed one's sockets and pid file do not disturb the next start
    assert len(keys) == 1


def test_a_killed_process_comes_back_and_the_others_stay(stack: Stack) -> None:
    for name in sorted(NAMES - {"supervisor"}):
        earlier = stack.pids

        os.kill(earlier[name], signal.SIGKILL)

        until(lambda name=name, earlier=earlier: stack.pids.get(name, earlier[name]) != earlier[name])
        until(lambda: answers(stack, "/readyz"))
        assert {other: pid for other, pid in stack.pids.items() if other != name} == {
            other: pid for other, pid in earlier.items() if other != name
        }
        assert balance(stack) == 100


def test_ctrl_c_while_starting_leaves_nothing(tmp_path: Path, before: frozenset[int]) -> None:
    home, port = tmp_path / "home", free_port()
    environment = own_environment(os.environ) | SMALL | {"BROWSA_HOME": str(home), "BROWSA_PORT": str(port)}
    with subprocess.Popen([sys.executable, "-m", "stack", "up"], cwd=ROOT, env=environment) as process:
        until(lambda: (home / "pids.json").exists())
        process.send_signal(signal.SIGINT)

        assert process.wait(PATIENCE) == 0
    assert remains.wait_for_none(PATIENCE, before) == {}
    assert not locate(home).sockets.exists()
