"""Control groups: version 2 in a folder that looks like a delegated subtree, version 1 where the kernel has it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.cgroups import MAIN, Cgroup, Cgroups, Limits, NoCgroups
from tests.patience import until

LIMITS = Limits(memory=64 * 2**20, pids=16, cpu_weight=400)


class Fake:
    """A tree of version 2, and this process in it: the files that the runner reads."""

    def __init__(self, place: Path, *, path: str = "/", controllers: str = "cpuset cpu io memory pids") -> None:
        self.place = place
        self.base = place / "fs" / path.lstrip("/")
        self.base.mkdir(parents=True)
        (self.base / "cgroup.controllers").write_text(controllers)
        (self.base / "cgroup.subtree_control").write_text("")
        (self.base / "cgroup.type").write_text("domain")
        (self.base / "cgroup.procs").write_text("")
        self.is_in(path)

    def is_in(self, path: str) -> None:
        (self.place / "cgroup").write_text(f"0::{path}\n")
        mount = f"30 23 0:26 / {self.place}/fs rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
        (self.place / "mountinfo").write_text(f"22 1 8:1 / / rw - ext4 /dev/sda rw\n{mount}")

    def find(self) -> Cgroups:
        return Cgroups.find("marker", groups=self.place / "cgroup", mounts=self.place / "mountinfo")

    def written(self, folder: Path) -> dict[str, str]:
        return {file.name: file.read_text() for file in folder.iterdir() if file.is_file()}

    def empty(self, folder: Path) -> None:
        """The files of a real group go with it."""
        for file in folder.iterdir():
            file.unlink()


def test_in_a_delegated_tree_each_jail_has_a_group_with_its_limits(tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    cgroups = fake.find()

    assert (cgroups.version, cgroups.controllers) == (2, ("memory", "pids", "cpu"))
    assert (fake.base / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    one, two = cgroups.make(LIMITS), cgroups.make(LIMITS)
    one.add(4711)
    first, second = sorted(fake.base.glob("browsa-marker-*"))
    assert fake.written(first) == {
        "memory.max": str(64 * 2**20),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "16",
        "cpu.weight": "400",
        "cgroup.procs": "4711",
    }
    assert one.out_of_memory_events() is None
    assert not one.ran_out_of_memory()
    (first / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 1\n")
    assert one.ran_out_of_memory()

    assert not two.remove()
    fake.empty(second)
    assert two.remove()
    assert two.remove()
    assert not second.exists()


def test_processes_of_the_delegated_group_move_to_a_child_of_it(tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    (fake.base / "cgroup.procs").write_text("12\n")
    fake.find()

    assert (fake.base / MAIN / "cgroup.procs").read_text() == "12"
    assert (fake.base / MAIN / "cpu.weight").read_text() == "1000"


def test_a_runner_that_starts_in_that_child_uses_the_group_above(tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    (fake.base / MAIN).mkdir()
    (fake.base / "cgroup.subtree_control").write_text("memory pids cpu")
    fake.is_in(f"/{MAIN}")

    fake.find().make(LIMITS)
    assert len([*fake.base.glob("browsa-marker-*")]) == 1
    assert (fake.base / "cgroup.subtree_control").read_text() == "memory pids cpu"


def test_in_version_1_the_services_weigh_five_times_as_much_as_an_ordinary_jail() -> None:
    assert Limits(memory=1, pids=1, cpu_weight=200).files(1, "cpu") == {"cpu.shares": 204}  # a service has 1024


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can set systemd's mark")
def test_a_group_that_can_be_written_but_that_systemd_has_not_delegated_is_left_alone(tmp_path: Path) -> None:
    fake = Fake(tmp_path, path="/system.slice/ssh.service")
    with pytest.raises(NoCgroups, match="Delegate=yes"):
        fake.find()
    assert not (fake.base / MAIN).exists()

    os.setxattr(fake.base, "trusted.delegate", b"1")
    assert fake.find().version == 2


@pytest.mark.parametrize("controllers", ["", "cpu io pids"])
def test_without_the_memory_controller_there_are_none(tmp_path: Path, controllers: str) -> None:
    with pytest.raises(NoCgroups, match="memory controller is not available"):
        Fake(tmp_path, controllers=controllers).find()


def test_a_tree_without_pids_limits_the_rest(tmp_path: Path) -> None:
    assert Fake(tmp_path, controllers="cpu memory").find().controllers == ("memory", "cpu")


def test_groups_of_an_earlier_life_are_removed_and_those_of_other_homes_if_they_are_empty(tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    (fake.base / "browsa-marker-1-1").mkdir()
    for number in (1, 2, 3):
        (fake.base / f"browsa-other-1-{number}").mkdir()
    (fake.base / "browsa-other-1-2" / "cgroup.procs").write_text("12")
    for number in (2, 3):
        os.utime(fake.base / f"browsa-other-1-{number}", (0, 0))

    assert fake.find().remove_leftovers() == 1
    assert {folder.name for folder in fake.base.glob("browsa-*-1-*")} == {"browsa-other-1-1", "browsa-other-1-2"}


def test_a_machine_without_control_groups_says_so(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("")
    (tmp_path / "mountinfo").write_text("22 1 8:1 / / rw - ext4 /dev/sda rw\n")

    with pytest.raises(NoCgroups, match="version 2: not mounted; version 1: not mounted"):
        Cgroups.find("marker", groups=tmp_path / "cgroup", mounts=tmp_path / "mountinfo")


def real() -> Cgroups | None:
    try:
        return Cgroups.find(f"test{os.getpid()}")
    except NoCgroups:
        return None


@pytest.fixture
def group() -> Iterator[Cgroup]:
    cgroups = real()
    if cgroups is None:
        pytest.skip("this machine gives us no control groups")
    yield cgroups.make(LIMITS)
    cgroups.remove_leftovers()


def in_group(group: Cgroup, script: str) -> subprocess.Popen[bytes]:
    """A shell that runs `script` once it is in the group."""
    process = subprocess.Popen(["sh", "-c", f"read go; {script}"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    group.add(process.pid)
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()
    return process


def test_the_kernel_refuses_more_processes_than_the_limit(group: Cgroup) -> None:
    with in_group(group, "for n in $(seq 30); do sleep 60 & done; wait") as process:
        assert process.stderr is not None
        assert b"fork" in process.stderr.readline()
        group.kill()
    until(group.remove, what="the end of all processes")


def test_files_in_memory_count_and_too_many_are_told(group: Cgroup, tmp_path: Path) -> None:
    file = Path("/dev/shm") / f"browsa-{os.getpid()}"  # noqa: S108
    try:
        with in_group(group, f"exec head -c 200000000 /dev/zero > {file}") as process:
            events = group.out_of_memory_events()
            assert process.wait() == -signal.SIGKILL
        assert file.stat().st_size < 64 * 2**20
        assert group.ran_out_of_memory()
        if events is not None:
            assert os.eventfd_read(events) > 0
            os.close(events)
    finally:
        file.unlink(missing_ok=True)


def test_what_is_left_in_a_group_is_killed(group: Cgroup) -> None:
    cgroups = real()
    assert cgroups is not None
    with in_group(group, "exec sleep 60") as process:
        assert not group.remove()
        assert cgroups.remove_leftovers() > 0
        assert process.wait() == -signal.SIGKILL
    assert group.remove()
