"""Uids for jails, with allocators in real processes that share a folder of locks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.jail import JailError
from runner.uids import RANGE, RANGES, Uids, has_processes
from tests.runner.harness import ROOT

FIRST = 2_000_000_000  # no jail of a runner under test has these

ANOTHER = """
import sys
from pathlib import Path
from runner.uids import Uids
uids = Uids(Path(sys.argv[1]), first=int(sys.argv[3]))
print(*[uids.take() for _ in range(int(sys.argv[2]))], flush=True)
sys.stdin.read()
"""


@contextmanager
def another_runner(locks: Path, count: int) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process that holds `count` uids until it is killed."""
    command = [sys.executable, "-c", ANOTHER, str(locks), str(count), str(FIRST)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, [int(uid) for uid in process.stdout.readline().split()]
        process.kill()


def test_runners_never_have_a_uid_in_common_and_a_killed_one_leaves_its_uids_free(tmp_path: Path) -> None:
    locks, ours = tmp_path / "locks", Uids(tmp_path / "locks", first=FIRST)
    mine = [ours.take() for _ in range(RANGE + 1)]
    with another_runner(locks, RANGE + 1) as (process, theirs), another_runner(locks, 1) as (_, thirds):
        assert len({*mine, *theirs, *thirds}) == 2 * (RANGE + 1) + 1
        assert min(*mine, *theirs, *thirds) >= FIRST

        process.kill()
        process.wait()
        assert Uids(locks, first=FIRST).take() in theirs
    ours.close()


def test_a_uid_that_was_given_back_is_used_again_as_late_as_possible(tmp_path: Path) -> None:
    uids = Uids(tmp_path / "locks", first=FIRST)
    first = uids.take()
    uids.give_back(first)

    assert [uids.take() for _ in range(RANGE)][-1] == first
    uids.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process as another user")
def test_a_uid_with_processes_is_not_used(tmp_path: Path) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=FIRST + RANGE - 1) as process:
        assert has_processes(FIRST + RANGE - 1)
        uids = Uids(tmp_path / "locks", first=FIRST)
        assert FIRST + RANGE - 1 not in [uids.take() for _ in range(RANGE)]
        uids.close()
        process.kill()


def test_a_host_without_free_uids_says_so(tmp_path: Path) -> None:
    uids = Uids(tmp_path / "locks", first=FIRST)
    for _ in range(RANGE * RANGES):
        uids.take()

    with pytest.raises(JailError, match="in use"):
        uids.take()
    uids.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(JailError, match="no/locks"):
        Uids(tmp_path / "no" / "locks").take()
