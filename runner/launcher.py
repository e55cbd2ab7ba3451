"""Starts Chromiums: in a jail each or, for development, bare; ready means DevTools answers and a page is open."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import NamedTuple

from runner import jail
from runner.cdp import CdpError
from runner.cgroups import DEFAULT_LIMITS, Cgroups, Limits
from runner.chromium import Chromium, ChromiumError
from runner.chromium_flags import Flags, full_flags
from runner.identity.emulation import DEFAULT_FAMILY, Identity
from runner.jail_limits import JailLimiter
from runner.netns import NamespaceError, SocketFactory
from runner.uids import Uids

log = logging.getLogger("browsa.runner.launcher")

START_SECONDS = 30.0
LAST_WRITES_SECONDS = 1.0
DEVTOOLS_LINE = re.compile(r"DevTools listening on ws://127\.0\.0\.1:(\d+)(/devtools/browser/\S+)")


class Started(NamedTuple):
    process: subprocess.Popen[bytes]
    init: int | None = None  # the jail's pid 1
    listener: socket.socket | None = None
    profile: Path | None = None


class Launcher:
    """Starts Chromiums of one binary. `home` is where bare browsers keep their profiles; `timezone` (IANA's name) is
    what they show, workers and frames of other sites included, unless they are told otherwise. `limits` are of each
    jail. The launchers of one runner share its `uids` and its `cgroups` (None: rlimits alone).
    """

    def __init__(
        self,
        binary: Path,
        *,
        jailed: bool,
        home: Path,
        flags: Flags = full_flags,
        timezone: str = "",
        limits: Limits = DEFAULT_LIMITS,
        uids: Uids | None = None,
        cgroups: Cgroups | None = None,
    ) -> None:
        self.timezone = timezone
        self.own_uids = os.geteuid() == 0
        self._binary = binary
        self._flags = flags
        self._jailed = jailed
        self._home = home
        self._marker = jail.marker_of(home)
        # Not in `home`, which a browser that runs as another user may not enter.
        self._profiles = Path(tempfile.gettempdir()) / f"browsa-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"
        self._factory = SocketFactory()
        self._uids = uids or Uids()
        self._limiter = JailLimiter(self._factory, cgroups, limits)
        self._version = ""

    def prepare(self) -> None:
        """Clear what an earlier life left, and find out whether jails can be made. Raises jail.JailError."""
        self._version = _version(self._binary)
        shutil.rmtree(self._profiles, ignore_errors=True)
        if killed := jail.kill_leftovers(self._home):
            log.warning("killed %d processes of jails that an earlier runner left", killed)
        if self._jailed:
            self._probe()
        else:
            log.warning("BROWSA_JAIL=off: browsers run WITHOUT a jail and can reach this machine. Development only.")

    def _probe(self) -> None:
        uid = self._take_uid()
        try:
            jail.probe(self._spec(uid))
        except jail.JailError as error:
            if uid is None:
                raise
            # Root, but where other uids are not mapped or where only root can read the browser.
            jail.probe(self._spec(None))
            self.own_uids = False
            log.warning("jails run as root mapped to an ordinary user, not as a uid of their own: %s", error)
        finally:
            if uid is not None:
                self._uids.give_back(uid)

    def _take_uid(self) -> int | None:
        """The host uid of a new browser; None for the runner's own. Raises jail.JailError."""
        return self._uids.take() if self.own_uids else None

    def close(self) -> None:
        """For when every browser has ended. Other processes of one may still run for a moment."""
        self._factory.close()
        self._limiter.close()
        until = time.monotonic() + LAST_WRITES_SECONDS
        while self._profiles.exists() and time.monotonic() < until:
            shutil.rmtree(self._profiles, ignore_errors=True)
            time.sleep(0.01)

    async def launch(self) -> Chromium:
        """Start a browser and wait for its DevTools port and its first page. Raises ChromiumError."""
        read, write = os.pipe()
        uid = None
        try:
            uid = self._take_uid()
            started = self._start_jailed(uid, write) if self._jailed else self._start_bare(uid, write)
        except (jail.JailError, OSError) as error:
            os.close(read)
            if uid is not None:
                self._uids.give_back(uid)
            raise ChromiumError(str(error)) from error
        finally:
            os.close(write)
        browser = Chromium(
            started.process,
            _exit_of(started.process),
            self._factory,
            deque(maxlen=40),
            listener=started.listener,
            profile=started.profile,
        )
        browser.gone.add_done_callback(lambda _gone: self._release(browser, uid))
        try:
            async with asyncio.timeout(START_SECONDS):
                stderr = await _stderr_reader(read, browser)
                if started.init is not None:
                    await self._limiter.apply(browser, started.init, own_uid=uid is not None)
                browser.port, browser.path = await _devtools(stderr, browser)
                await _read_version_and_page(browser)
        except (TimeoutError, OSError, NamespaceError, CdpError, ChromiumError) as error:
            browser.kill()
            tail = " | ".join(browser.stderr_tail)[-800:]
            raise ChromiumError(f"Chromium did not start: {error or 'too slow'}; it said: {tail}") from error
        return browser

    def _release(self, browser: Chromium, uid: int | None) -> None:
        browser.release()
        if uid is not None:
            self._uids.give_back(uid)
        if browser.cgroup is not None:
            self._limiter.remove_group(browser.cgroup)

    def _spec(self, uid: int | None) -> jail.JailSpec:
        return jail.JailSpec(self._binary.parent, self._marker, uid, self.timezone)

    def _command(self, binary: str, proxy: str, profile: str) -> list[str]:
        # Overrides are given to pages and workers; this is for what Chromium fetches on its own, such as the script
        # of a service worker.
        user_agent = Identity.of(DEFAULT_FAMILY, "us", self._version).user_agent
        return jail.gated([binary, *self._flags(proxy, profile), f"--user-agent={user_agent}"])

    def _start_jailed(self, uid: int | None, stderr: int) -> Started:
        spec = self._spec(uid)
        binary = f"{jail.chromium_folder(spec.browser)}/{self._binary.name}"
        command = self._command(binary, f"socks5://127.0.0.1:{jail.PROXY_PORT}", f"{jail.HOME}/profile")
        jailed = jail.start(spec, command, stderr=stderr)
        return Started(jailed.process, init=jailed.init)

    def _start_bare(self, uid: int | None, stderr: int) -> Started:
        self._profiles.mkdir(mode=0o711, exist_ok=True)
        profile = Path(tempfile.mkdtemp(dir=self._profiles))
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        listener.setblocking(False)
        proxy = f"socks5://127.0.0.1:{listener.getsockname()[1]}"
        if uid is not None:
            os.chown(profile, uid, uid)
        process = subprocess.Popen(
            [*_bare_prefix(uid), *self._command(str(self._binary), proxy, str(profile))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={
                "HOME": str(profile),
                "TMPDIR": _temporary_folder(profile),
                "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
                "LANG": "en_US.UTF-8",
                **({"TZ": self.timezone} if self.timezone else {}),
            },
        )
        assert process.stdin is not None
        process.stdin.write(b"\n")  # its gate
        process.stdin.flush()
        return Started(process, listener=listener, profile=profile)


def _version(binary: Path) -> str:
    """ "156.0.8078.79", as the binary says itself. Raises jail.JailError when it says nothing of the kind."""
    try:
        said = subprocess.run(
            [binary, "--version"], env={}, capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise jail.JailError(f"{binary} does not run: {error}") from error
    match = re.search(r"\d+(?:\.\d+){3}", said)
    if match is None:
        raise jail.JailError(f"{binary} --version says {said.strip()!r}: is it a Chromium?")
    return match[0]


def _bare_prefix(uid: int | None) -> list[str]:
    """What ends a bare Chromium with the runner, as bubblewrap would, and keeps it from being root (setpriv(1))."""
    if sys.platform != "linux":
        return []
    user = [] if uid is None else ["--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
    return ["setpriv", "--pdeathsig", "KILL", *user, "--"]


def _temporary_folder(profile: Path) -> str:
    """Where a bare Chromium makes its sockets: with its profile, to go with it, unless their paths get too long."""
    return str(profile) if len(os.fsencode(profile)) < 60 else tempfile.gettempdir()


def _exit_of(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """The exit status of `process`, as soon as the kernel has it."""
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[int] = loop.create_future()
    pidfd = os.pidfd_open(process.pid)

    def reap() -> None:
        loop.remove_reader(pidfd)
        os.close(pidfd)
        gone.set_result(process.wait())

    loop.add_reader(pidfd, reap)
    return gone


async def _stderr_reader(stderr: int, browser: Chromium) -> asyncio.StreamReader:
    """What the browser says on its standard error."""
    reader = asyncio.StreamReader()
    pipe, _protocol = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(stderr, "rb", buffering=0)
    )
    browser.gone.add_done_callback(lambda _gone: pipe.close())  # uvloop keeps it open at its end
    return reader


async def _devtools(reader: asyncio.StreamReader, browser: Chromium) -> tuple[int, str]:
    """Port and path of the DevTools endpoint, from the line that Chromium prints. Keeps on reading behind it."""
    while line := (await reader.readline()).decode(errors="replace"):
        if match := DEVTOOLS_LINE.search(line):
            # Whoever stops reading a chatty Chromium stops Chromium.
            drain = asyncio.create_task(_keep_tail(reader, browser.stderr_tail), name="chromium-stderr")
            browser.gone.add_done_callback(partial(_cancel, drain))
            return int(match[1]), match[2]
        browser.stderr_tail.append(line.strip())
    raise ChromiumError("it ended before its DevTools were up")


def _cancel(task: asyncio.Task[None], _gone: asyncio.Future[int]) -> None:
    task.cancel()


async def _keep_tail(reader: asyncio.StreamReader, tail: deque[str]) -> None:
    while chunk := await reader.read(4096):
        tail.append(chunk.decode(errors="replace").strip()[-400:])


async def _read_version_and_page(browser: Chromium) -> None:
    """Learn the browser's version and its first page."""
    cdp = await browser.connect(lambda method, params, session: None)
    try:
        version = await cdp.call("Browser.getVersion")
        browser.version = version["product"].partition("/")[2]
        targets = (await cdp.call("Target.getTargets"))["targetInfos"]
        pages = [target["targetId"] for target in targets if target["type"] == "page"]
        browser.page_id = (
            pages[0] if pages else (await cdp.call("Target.createTarget", {"url": "about:blank"}))["targetId"]
        )
    finally:
        await cdp.close()
