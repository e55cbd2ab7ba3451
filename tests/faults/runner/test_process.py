"""The runner as a process: how it starts, how it ends, and what it leaves behind by any end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from runner.uids import FIRST_UID
from tests.fakes.report_api import ReportApi
from tests.fakes.site import Site
from tests.fakes.upstream_proxy import UpstreamProxy
from tests.patience import PATIENCE
from tests.runner.client import Cdp
from tests.runner.harness import (
    ROOT,
    Lease,
    Refused,
    RunnerProcess,
    browser_of,
    browsers_of,
    command_line,
    descendants,
    in_time,
    marked,
    plain_http,
    renderers,
    reserved_port,
    status_of,
    until,
)

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.asyncio(loop_scope="session")]

LONGER = str(10 * int(PATIENCE))  # seconds: what is waited for comes before these are over, or the test has failed


@pytest.fixture
def api() -> Iterator[ReportApi]:
    with ReportApi() as api:
        yield api


@pytest_asyncio.fixture(loop_scope="session")
async def start(site: Site, api: ReportApi) -> AsyncIterator[Callable[..., RunnerProcess]]:
    """Starts runners with one warm browser; ends them after the test."""
    started: list[RunnerProcess] = []

    def _start(**settings: str) -> RunnerProcess:
        defaults = {
            "BROWSA_POOL_SIZE": "1",
            "BROWSA_ALLOW_ADDRESSES": f"127.0.0.1:{site.port}",
            "BROWSA_REPORT_URL": api.url,
        }
        started.append(RunnerProcess(**(defaults | settings)))
        return started[-1].start()

    yield _start
    for runner in started:
        runner.clean()


async def nothing_left(runner: RunnerProcess, family: list[int]) -> float:
    """Wait for the end of every process; the seconds that it took."""
    began = time.monotonic()
    await until(
        lambda: not [pid for pid in family if command_line(pid)] and not marked(runner.home),
        what="the end of every process",
    )
    return time.monotonic() - began


def traces(runner: RunnerProcess, temporary: Path) -> set[str]:
    """What lies in a runner's home and in its temporary folder, and what is a jail's own user's in that of us all."""
    found = {str(path) for path in runner.home.rglob("*") if path.is_file()} | set(map(str, temporary.rglob("*")))
    for path in Path(tempfile.gettempdir()).iterdir():
        with contextlib.suppress(FileNotFoundError):
            found |= {str(path)} if path.lstat().st_uid >= FIRST_UID else set()
    return found


async def drains(runner: RunnerProcess) -> None:
    async def draining() -> bool:
        return (await runner.status()).state == "draining"

    await until(draining, what="draining")


async def test_a_boot_is_reported_before_anything_else(start: Callable[..., RunnerProcess], api: ReportApi) -> None:
    runner = start()
    await runner.ready()
    status = await runner.status()

    await until(lambda: api.reports, what="the report")
    assert (api.reports[0].runner_id, api.reports[0].boot_id, api.reports[0].ended) == ("r1", status.boot_id, [])


async def test_a_killed_runner_leaves_nothing_and_its_next_life_says_so(
    start: Callable[..., RunnerProcess], api: ReportApi, tmp_path: Path
) -> None:
    runner = start(TMPDIR=str(tmp_path))
    await runner.ready()
    before = traces(runner, tmp_path)
    lives: list[Lease] = []

    async def live_and_die() -> float:
        lives.append(await runner.grant())
        await runner.ready()
        await until(lambda: lives[-1].granted.boot_id in api.boots(), what="the boot's report")
        await until(lambda: len(browsers_of(runner.pid)) == 2, what="a leased browser and a warm one")
        family = descendants(runner.pid)

        runner.process.kill()
        runner.process.wait()
        took = await nothing_left(runner, family)
        assert traces(runner, tmp_path) == before
        await runner.start().ready()
        return took

    await in_time(5, live_and_die)

    lease = lives[-1]
    await until(lambda: len(api.boots()) == len(lives) + 1, what="the next boot's report")
    assert await runner.leases() == []
    async with plain_http() as http:
        assert (await http.get(f"{lease.cdp_http}/json/version")).status_code == 404
    async with runner.lease(lease_id=lease.id) as again:
        assert again.granted.boot_id == api.boots()[-1]
        assert again.granted.profile != lease.granted.profile


async def test_sigterm_drains(start: Callable[..., RunnerProcess], api: ReportApi) -> None:
    runner = start(BROWSA_DRAIN_SECONDS=LONGER)
    await runner.ready()
    lease = await runner.grant()
    family = descendants(runner.pid)

    runner.process.send_signal(signal.SIGTERM)
    await drains(runner)
    with pytest.raises(Refused) as refused:
        await runner.grant()
    assert (refused.value.status, refused.value.code) == (503, "draining")
    async with Cdp(lease.cdp_url) as cdp:
        assert await cdp.run("1") == 1
    await lease.release()
    assert await asyncio.to_thread(runner.process.wait, PATIENCE) == 0
    await nothing_left(runner, family)
    assert api.ends(lease.id) == []


async def ends_with_a_report(
    start: Callable[..., RunnerProcess],
    api: ReportApi,
    end: Callable[[RunnerProcess, Lease], Awaitable[None]],
    **settings: str,
) -> None:
    """A runner that has leased a browser is ended by `end`, and reports that.

    It gives its last reports two seconds, and logs when that was not enough: then once more, with another runner.
    """
    for _ in range(3):
        runner = start(**settings)
        await runner.ready()
        lease = await runner.grant()
        family = descendants(runner.pid)

        await end(runner, lease)

        assert await asyncio.to_thread(runner.process.wait, PATIENCE) == 0
        await nothing_left(runner, family)
        await until(lambda: api.ends(lease.id) or "could not be reported" in runner.log(), what="the report")  # noqa: B023
        if api.ends(lease.id):
            break
    assert api.ends(lease.id) == ["shutdown"]


async def test_a_drain_that_takes_too_long_ends_the_leases_and_reports_them(
    start: Callable[..., RunnerProcess], api: ReportApi
) -> None:
    async def drain(runner: RunnerProcess, lease: Lease) -> None:
        runner.process.send_signal(signal.SIGTERM)

    await ends_with_a_report(start, api, drain, BROWSA_DRAIN_SECONDS="1")


@pytest.mark.parametrize(
    "signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]], ids=["SIGINT", "SIGTERM twice"]
)
async def test_an_impatient_stop_ends_all_at_once(
    start: Callable[..., RunnerProcess], api: ReportApi, signals: list[signal.Signals]
) -> None:
    async def insist(runner: RunnerProcess, lease: Lease) -> None:
        async with Cdp(lease.cdp_url) as cdp:
            await cdp.run("1")
            first, *others = signals
            runner.process.send_signal(first)
            for other in others:
                await drains(runner)  # two that come together are one
                runner.process.send_signal(other)
            await asyncio.to_thread(runner.process.wait, PATIENCE)

    await ends_with_a_report(start, api, insist, BROWSA_DRAIN_SECONDS=LONGER)


async def test_a_stop_while_it_starts_leaves_nothing(start: Callable[..., RunnerProcess]) -> None:
    def jails(runner: RunnerProcess) -> list[int]:
        return [pid for pid in descendants(runner.pid) if "bwrap" in str(command_line(pid))]

    async def stop_early() -> float:
        runner = start()
        await until(lambda: jails(runner), what="a jail")
        family = descendants(runner.pid)
        assert await asyncio.to_thread(runner.stop, signal.SIGKILL) == -signal.SIGKILL
        return await nothing_left(runner, family)

    await in_time(5, stop_early)


async def test_reports_are_repeated_until_the_api_has_them(start: Callable[..., RunnerProcess], site: Site) -> None:
    with reserved_port() as reserved:
        port = int(reserved.getsockname()[1])
        runner = start(BROWSA_REPORT_URL=f"http://127.0.0.1:{port}/internal/runner/report")
        await until(lambda: "cannot be reached" in runner.log(), what="a report that fails")
        api = ReportApi(port)
    api.status = 500  # before it serves: a report that it takes is not repeated
    with api:
        for status in (500, 302):
            api.status, before = status, api.refused
            await until(lambda: api.refused > before, what="another try")  # noqa: B023
        api.status = 204
        await runner.ready()
        lease = await runner.grant(ttl_seconds=1)
        await until(lambda: api.ends(lease.id), what="the report")

        assert api.ends(lease.id) == ["expired"]
        assert len(api.boots()) == 1


async def test_two_runners_live_side_by_side(start: Callable[..., RunnerProcess]) -> None:
    one, two = start(), start(BROWSA_RUNNER_ID="r2")
    await asyncio.gather(one.ready(), two.ready())
    async with one.lease() as lease, two.lease() as other:
        assert other.granted.profile.startswith("r2-")
        one.process.kill()
        one.process.wait()
        async with Cdp(other.cdp_url) as cdp:
            assert await cdp.run("1") == 1
        assert lease.granted.runner_id == "r1"


async def test_a_taken_port_is_named(start: Callable[..., RunnerProcess], site: Site) -> None:
    runner = start(BROWSA_GATEWAY_PORT=str(site.port))

    assert await asyncio.to_thread(runner.process.wait, PATIENCE) == 1
    assert "the runner does not start" in runner.log()
    assert str(site.port) in runner.log()
    assert "Traceback" not in runner.log()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"BROWSA_JAIL": "maybe"}, "BROWSA_JAIL"),
        ({"BROWSA_GATEWAY_PORT": "70000"}, "BROWSA_GATEWAY_PORT"),
        ({"BROWSA_ALLOW_ADDRESSES": "everything"}, "BROWSA_ALLOW_ADDRESSES"),
        ({"EGRESS_COUNTRIES": "{"}, "EGRESS_COUNTRIES"),
        ({"BROWSA_CHROMIUM": "/no/such/browser"}, "BROWSA_CHROMIUM"),
    ],
)
async def test_a_wrong_setting_is_named_and_nothing_starts(
    start: Callable[..., RunnerProcess], settings: dict[str, str], words: str
) -> None:
    runner = start(**settings)

    assert await asyncio.to_thread(runner.process.wait, PATIENCE) == 1
    assert words in runner.log()
    assert "Traceback" not in runner.log()


async def test_without_bubblewrap_it_refuses_and_says_what_to_do(
    start: Callable[..., RunnerProcess], tmp_path: Path
) -> None:
    runner = start(PATH=str(tmp_path), BROWSA_CHROMIUM="/usr/bin/chromium")

    assert await asyncio.to_thread(runner.process.wait, PATIENCE) == 1
    assert "apt install bubblewrap" in runner.log()
    assert "BROWSA_JAIL=off" in runner.log()


async def test_without_user_namespaces_it_refuses_and_says_why(start: Callable[..., RunnerProcess]) -> None:
    words = "bwrap: No permissions to create new namespace, likely because the kernel does not allow it"
    with tempfile.TemporaryDirectory(prefix="bwf") as folder:
        os.chmod(folder, 0o755)  # noqa: S103 (jails are started by other users than us)
        fake = Path(folder) / "bwrap"
        fake.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
        fake.chmod(0o755)
        runner = start(PATH=f"{folder}:{os.environ['PATH']}")

        assert await asyncio.to_thread(runner.process.wait, PATIENCE) == 1
    assert words in runner.log()
    assert "unprivileged_userns_clone" in runner.log()


def seccomp(runner: RunnerProcess) -> set[str]:
    """How the system calls of its renderers are filtered (proc_pid_status(5))."""
    found = set()
    for pid in renderers(runner.pid):
        with contextlib.suppress(OSError):
            found.add(status_of(pid)["Seccomp"])
    return found


async def test_without_a_jail_it_warns_loudly_and_works(start: Callable[..., RunnerProcess], site: Site) -> None:
    runner = start(BROWSA_JAIL="off")
    await runner.ready()
    family = descendants(runner.pid)

    assert "WARNING" in runner.log()
    assert "WITHOUT a jail" in runner.log()
    async with runner.lease() as lease, Cdp(lease.cdp_url) as cdp:
        await cdp.open(site.url("/hello"))
        assert await cdp.run("document.title") == "Hello"
        assert not [pid for pid in descendants(runner.pid) if "no-sandbox" in " ".join(command_line(pid))]
        await until(lambda: seccomp(runner) == {"2"}, what="the sandbox of every renderer")  # also of new ones
        family += descendants(runner.pid)
        profiles = {
            word.partition("=")[2]
            for pid in browsers_of(runner.pid)
            for word in command_line(pid)
            if word.startswith("--user-data-dir=")
        }

        def have_sockets() -> bool:
            return all([*Path(profile).glob("org.chromium.Chromium.*/SingletonSocket")] for profile in profiles)

        await until(have_sockets, what="every browser's own socket")  # also of those that are just starting
    runner.process.kill()
    runner.process.wait()
    await nothing_left(runner, family)

    (folder,) = {Path(profile).parent for profile in profiles}
    for _ in range(3):
        await runner.start().ready()
        assert [profile for profile in profiles if os.path.exists(profile)] == []
        runner.stop(signal.SIGTERM)
        if not folder.exists():
            break  # else one of a browser's processes stood still, and wrote later than the runner waits for it
    assert not folder.exists()


async def test_a_user_who_is_not_root_can_run_it(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    if os.geteuid() != 0:
        pytest.skip("this very run is not root's: the other tests show it")
    unprivileged = 65534
    try:
        subprocess.run(
            [sys.executable, "-c", "import aiohttp, uvloop, runner"],
            user=unprivileged, group=unprivileged, extra_groups=[], cwd=ROOT, capture_output=True, check=True,
            env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("another user cannot read this Python or this repository")
    runner = RunnerProcess(BROWSA_POOL_SIZE="1", BROWSA_ALLOW_ADDRESSES=f"127.0.0.1:{site.port}")
    try:
        for folder in (runner.folder, runner.home):
            os.chown(folder, unprivileged, unprivileged)
        await runner.start(user=unprivileged).ready()
        async with runner.lease() as lease, Cdp(lease.cdp_url) as cdp:
            await cdp.open(site.url("/hello"))
            assert await cdp.run("document.title") == "Hello"
            pid = await browser_of(lease)
            assert status_of(pid)["Uid"].split()[0] == str(unprivileged)
    finally:
        runner.clean()


async def test_the_log_holds_no_secret(start: Callable[..., RunnerProcess], site: Site) -> None:
    async with UpstreamProxy("http", user="someone", password="pr0xyPassw0rd") as proxy:
        proxy.answer = b"HTTP/1.1 502 Bad Gateway\r\n\r\n"
        runner = start(EGRESS_COUNTRIES=json.dumps({"us": proxy.url}))
        await runner.ready()
        async with runner.lease() as lease, Cdp(lease.cdp_url) as cdp:
            address = {"url": "http://far.example/hello?token=in-the-address"}
            assert (await cdp.call("Page.navigate", address))["errorText"]
            await proxy.down()
            assert (await cdp.call("Page.navigate", address))["errorText"]
            assert await browser_of(lease)
        runner.stop()

    for secret in ("pr0xyPassw0rd", runner.settings["BROWSA_RUNNER_TOKEN"], lease.granted.profile, "in-the-address"):
        assert secret not in runner.log()
