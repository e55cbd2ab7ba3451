"""What a jailed program can write, change and use up, tried from inside a real jail."""

from __future__ import annotations

import asyncio
import json
import os
import resource
from pathlib import Path

import pytest

from runner import jail
from runner.cgroups import DEFAULT_LIMITS, Cgroups, Limits, NoCgroups
from tests.fakes.report_api import ReportApi
from tests.fakes.site import Site
from tests.runner.client import Cdp, CdpRefused
from tests.runner.harness import RunnerProcess, browser_of, until
from tests.runner.inside import MARKER, needs_python, run_inside, uids

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

LOOK_AROUND = """
import errno, itertools, json, os, resource

def refused(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return ""

def writable(path):
    return not refused(lambda: os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK)))

folders, kernel = [], []
places = [line.split()[4] for line in open("/proc/self/mountinfo")]
programs = ((place, [], []) for place in places if place.startswith("/usr"))
for folder, below, files in itertools.chain(os.walk("/"), programs):
    if folder == "/":
        below.remove("usr")  # a mount of its own, and so is what is below it
    if folder == "/proc":
        below[:] = [name for name in below if not name.isdigit() and name not in ("self", "thread-self")]
    if folder.startswith("/proc"):
        paths = [f"{folder}/{name}" for name in files]
        kernel += [path for path in paths if not os.path.islink(path) and writable(path)]
    if not refused(lambda: os.mkdir(f"{folder}/new")):
        os.rmdir(f"{folder}/new")
        folders.append(folder)

def fill(folder):
    count = 0
    while not refused(lambda: os.close(os.open(f"{folder}/{count}", os.O_CREAT | os.O_WRONLY))):
        count += 1
    for number in range(count):
        os.unlink(f"{folder}/{number}")
    return count

def size(folder):
    there = os.statvfs(folder)
    return [there.f_blocks * there.f_frsize, there.f_files]

devices = [f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")]
os.write(os.open("/dev/null", os.O_WRONLY), b"written")
report = {
    "folders": folders,
    "kernel": kernel,
    "sizes": {folder: size(folder) for folder in folders if os.path.ismount(folder)},
    "files": fill("/tmp"),
    "devices": [refused(lambda: os.chmod(path, 0o666)) for path in devices],
    "masked": [os.path.exists(path) and not refused(lambda: open(path).read(1)) for path in MASKED],
    "rlimits": {name: resource.getrlimit(name) for name in RLIMITS},
}
try:
    resource.setrlimit(resource.RLIMIT_NOFILE, (10**5, 10**5))
except ValueError as error:
    report["raised"] = str(error)
os.write(4, json.dumps(report).encode())
"""


@needs_python
@uids
async def test_only_three_folders_can_be_written_and_they_are_bounded_in_bytes_and_files(own_uid: bool) -> None:
    numbers = [resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC]
    constants = f"MASKED, RLIMITS = {jail.MASKED_FILES!r}, {[int(number) for number in numbers]!r}\n"
    status, said = await run_inside(constants + LOOK_AROUND, own_uid=own_uid)

    assert status == 0
    seen = json.loads(said)
    assert sorted(seen["folders"]) == sorted(folder for folder, _size, _inodes in jail.WRITABLE)
    assert seen["sizes"] == {folder: [size, inodes] for folder, size, inodes in jail.WRITABLE}
    assert seen["files"] in range(8000, 8193)
    assert seen["kernel"] == []
    assert set(seen["devices"]) == {"EROFS"}
    assert not any(seen["masked"])
    limits = [hard for _soft, hard in seen["rlimits"].values()]
    assert limits == [0, DEFAULT_LIMITS.memory, 8192, DEFAULT_LIMITS.pids]
    assert seen["raised"] == "not allowed to raise maximum limit"


@needs_python
@uids
async def test_a_jail_sees_a_user_namespace_of_its_own(own_uid: bool) -> None:
    _status, said = await run_inside(
        "import os; os.write(4, os.readlink('/proc/self/ns/user').encode() + open('/proc/self/uid_map', 'rb').read())",
        own_uid=own_uid,
    )

    assert os.readlink("/proc/self/ns/user").encode() not in said
    assert said.split()[-3:-2] == [str(jail.INSIDE_UID).encode()]
    assert said.split()[-1] == b"1"


@pytest.fixture(scope="module")
def groups() -> Cgroups:
    try:
        return Cgroups.find(MARKER)
    except NoCgroups as error:
        pytest.skip(f"this machine gives us no control groups: {error}")


@needs_python
@uids
async def test_files_count_in_the_memory_of_a_jail_which_ends_when_it_takes_too_much(
    groups: Cgroups, own_uid: bool
) -> None:
    status, said = await run_inside(
        "import os\n"
        "os.write(4, b'begun')\n"
        "file = os.open('/dev/shm/big', os.O_CREAT | os.O_WRONLY)\n"
        "while True: os.write(file, bytes(2**20))\n",
        own_uid=own_uid,
        cgroups=groups,
        limits=Limits(memory=64 * 2**20, pids=64, cpu_weight=400),
    )

    assert said == b"begun"
    assert status != 0


@needs_python
@uids
async def test_a_jail_cannot_have_more_processes_than_its_limit(groups: Cgroups, own_uid: bool) -> None:
    status, said = await run_inside(
        "import os, signal\n"
        "children = 0\n"
        "try:\n"
        "    while os.fork(): children += 1\n"
        "    signal.pause()\n"
        "except OSError as error: os.write(4, str(children).encode())\n",
        own_uid=own_uid,
        cgroups=groups,
        limits=Limits(memory=512 * 2**20, pids=40, cpu_weight=400),
    )

    assert status == 0
    assert int(said) in range(30, 40)


def groups_of(runner: RunnerProcess) -> list[Path]:
    return [
        folder
        for root in Path("/sys/fs/cgroup").iterdir()
        for folder in root.rglob(f"browsa-{jail.marker_of(runner.home)}-*")
    ]


@pytest.mark.usefixtures("groups")
async def test_a_browser_that_takes_too_much_memory_crashes_and_groups_go_with_their_jails(site: Site) -> None:
    with ReportApi() as api:
        runner = RunnerProcess(
            BROWSA_POOL_SIZE="1",
            BROWSA_MAX_BROWSERS="1",
            BROWSA_BROWSER_MEMORY_MIB="512",
            BROWSA_ALLOW_ADDRESSES=f"127.0.0.1:{site.port}",
            BROWSA_REPORT_URL=api.url,
        )
        try:
            await runner.start().ready()
            assert (await runner.status()).jail.limits[0].startswith("cgroup v")
            assert "limits: cgroup v" in runner.log()
            lease = await runner.grant()
            pid = await browser_of(lease)
            assert f"browsa-{jail.marker_of(runner.home)}-" in Path(f"/proc/{pid}/cgroup").read_text()
            async with Cdp(lease.cdp_url) as cdp:
                await cdp.open(site.url("/hello"))
                greedy = asyncio.create_task(cdp.run(GREEDY))
                await until(lambda: api.ends(lease.id), what="the browser's end")
                with pytest.raises(CdpRefused, match="closed"):
                    await greedy
            assert api.ends(lease.id) == ["crashed"]

            await runner.ready()
            await until(lambda: "needed more than 512 MiB" in runner.log(), what="the reason in the log")
            await runner.at_rest(warm=1)
            await until(lambda: len(names(groups_of(runner))) == 2, what="groups for a browser and a shell alone")

            runner.process.kill()
            runner.process.wait()
            left = groups_of(runner)
            assert left
            await runner.start().ready()
            assert not set(left) & set(groups_of(runner))
            assert "control groups of jails that a previous runner left" in runner.log()
        finally:
            runner.clean()
        assert groups_of(runner) == []


GREEDY = "const kept = []; while (true) kept.push(new Uint8Array(2**24).fill(1))"


def names(groups: list[Path]) -> set[str]:
    return {group.name for group in groups}
