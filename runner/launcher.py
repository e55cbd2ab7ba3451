"""Start Chromiums, each in its own jail or, for development, without one, and wait until DevTools answers."""

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
from pathlib import Path
from typing import NamedTuple

from runner import jail
from runner.cdp import CdpError
from runner.cgroups import DEFAULT_LIMITS, Cgroups, Limits
from runner.chromium import Chromium, ChromiumError
from runner.chromium_flags import Flags, full_flags
from runner.identity.launch import Launch
from runner.jail_limits import FOLDER, JailLimiter
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
    """Starts Chromiums of one binary. `home` is the runner's home folder. `limits` apply to each jail. The launchers of
    one runner share its `uids` and its `cgroups` (None: only rlimits). `fonts` is a folder of `fonts.build_caches`.
    """

    def __init__(
        self,
        binary: Path,
        *,
        jailed: bool,
        home: Path,
        flags: Flags = full_flags,
        fonts: Path | None = None,
        limits: Limits = DEFAULT_LIMITS,
        uids: Uids | None = None,
        cgroups: Cgroups | None = None,
    ) -> None:
        self.own_uids = os.geteuid() == 0
        self.version = ""  # of the binary, such as "156.0.8078.79"; known after `prepare`
        self._binary = binary
        self._flags = flags
        self._fonts = fonts
        self._jailed = jailed
        self._home = home
        self._marker = jail.marker_of(home)
        # Not in `home`: a browser that runs as another user cannot read it.
        self._profiles = Path(tempfile.gettempdir()) / f"browsa-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"
        self._factory = SocketFactory()
        self._uids = uids or Uids()
        self._limiter = JailLimiter(self._factory, cgroups, limits)

    def prepare(self) -> None:
        """Remove what a previous runner left, and check that jails can be created. Raises jail.JailError."""
        self.version = _version(self._binary)
        shutil.rmtree(self._profiles, ignore_errors=True)
        if killed := jail.kill_leftovers(self._home):
            log.warning("killed %d processes of jails that a previous runner left", killed)
        if not self._jailed:
            log.warning("BROWSA_JAIL=off: browsers run WITHOUT a jail and can reach this machine. Development only.")
            return
        uid = self._take_uid()
        try:
            jail.probe(self._spec(uid, Launch()))
        except jail.JailError as error:
            if uid is None:
                raise
            # Either other uids are not mapped here, or only root can read the browser.
            jail.probe(self._spec(None, Launch()))
            self.own_uids = False
            log.warning("jails run as root mapped to an ordinary user, not as separate uids: %s", error)
        finally:
            if uid is not None:
                self._uids.give_back(uid)

    def _take_uid(self) -> int | None:
        """The host uid of a new browser; None for the uid of the runner. Raises jail.JailError."""
        return self._uids.take() if self.own_uids else None

    def close(self) -> None:
        """After the exit of all browsers. Their other processes may still run for some milliseconds."""
        self._factory.close()
        self._limiter.close()
        until = time.monotonic() + LAST_WRITES_SECONDS
        while self._profiles.exists() and time.monotonic() < until:
            shutil.rmtree(self._profiles, ignore_errors=True)
            time.sleep(0.01)

    async def launch(self, settings: Launch) -> Chromium:
        """Start a browser and wait for its DevTools port and its first page. Raises ChromiumError.

        Without a jail, the files of `settings` are not used.
        """
        read, write = os.pipe()
        uid = None
        try:
            uid = self._take_uid()
            start = self._start_jailed if self._jailed else self._start_bare
            started = start(settings, uid, write)
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
        if started.profile is not None:
            browser.folders[str(started.profile)] = os.open(started.profile, FOLDER)
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
            raise ChromiumError(f"Chromium did not start: {error or 'timeout'}; its standard error: {tail}") from error
        return browser

    def _release(self, browser: Chromium, uid: int | None) -> None:
        browser.release()
        if uid is not None:
            self._uids.give_back(uid)
        if browser.cgroup is not None:
            self._limiter.remove_group(browser.cgroup)

    def _spec(self, uid: int | None, settings: Launch) -> jail.JailSpec:
        return jail.JailSpec(
            self._binary.parent,
            self._marker,
            uid,
            environment={**settings.environment, **settings.jail_environment},
            files=settings.files,
            own_files=settings.own_files,
            fonts=self._fonts,
        )

    def _command(self, binary: str, proxy: str, profile: str, settings: Launch) -> list[str]:
        return jail.gated([binary, *self._flags(proxy, profile), *settings.flags])

    def _start_jailed(self, settings: Launch, uid: int | None, stderr: int) -> Started:
        spec = self._spec(uid, settings)
        binary = f"{jail.chromium_folder(spec.browser)}/{self._binary.name}"
        proxy = f"socks5://127.0.0.1:{jail.PROXY_PORT}"
        jailed = jail.start(spec, self._command(binary, proxy, f"{jail.HOME}/profile", settings), stderr=stderr)
        return Started(jailed.process, init=jailed.init)

    def _start_bare(self, settings: Launch, uid: int | None, stderr: int) -> Started:
        self._profiles.mkdir(mode=0o711, exist_ok=True)
        profile = Path(tempfile.mkdtemp(dir=self._profiles))
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        listener.setblocking(False)
        proxy = f"socks5://127.0.0.1:{listener.getsockname()[1]}"
        if uid is not None:
            os.chown(profile, uid, uid)
        # The folder for Chromium's Unix sockets: the profile, unless the paths would be too long.
        temporary = str(profile) if len(os.fsencode(profile)) < 60 else tempfile.gettempdir()
        process = subprocess.Popen(
            [*_bare_prefix(uid), *self._command(str(self._binary), proxy, str(profile), settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={
                "HOME": str(profile),
                "TMPDIR": temporary,
                "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
                "LANG": "en_US.UTF-8",
                **settings.environment,
            },
        )
        assert process.stdin is not None
        process.stdin.write(b"\n")  # see jail.gated
        process.stdin.flush()
        return Started(process, listener=listener, profile=profile)


def _version(binary: Path) -> str:
    """The version that the binary prints, such as "156.0.8078.79". Raises jail.JailError when it prints none."""
    try:
        said = subprocess.run(
            [binary, "--version"], env={}, capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise jail.JailError(f"{binary} does not run: {error}") from error
    match = re.search(r"\d+(?:\.\d+){3}", said)
    if match is None:
        raise jail.JailError(f"{binary} --version printed {said.strip()!r}: is it a Chromium?")
    return match[0]


def _bare_prefix(uid: int | None) -> list[str]:
    """setpriv(1) for a Chromium without a jail: kill it when the runner ends, and run it as `uid` instead of root."""
    if sys.platform != "linux":
        return []
    user = [] if uid is None else ["--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
    return ["setpriv", "--pdeathsig", "KILL", *user, "--"]


def _exit_of(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """A future of the exit status of `process`, done when it is reaped."""
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
    """A reader of the browser's standard error."""
    reader = asyncio.StreamReader()
    pipe, _protocol = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(stderr, "rb", buffering=0)
    )
    browser.gone.add_done_callback(lambda _gone: pipe.close())  # uvloop does not close it at EOF
    return reader


async def _devtools(reader: asyncio.StreamReader, browser: Chromium) -> tuple[int, str]:
    """Port and path of the DevTools endpoint, from the line that Chromium prints. Keeps reading in a task."""
    while (match := DEVTOOLS_LINE.search(line := (await reader.readline()).decode(errors="replace"))) is None:
        if not line:
            raise ChromiumError("it exited before its DevTools port was open")
        browser.stderr_tail.append(line.strip())
    # Without a reader the pipe fills up, and Chromium blocks.
    drain = asyncio.create_task(_keep_tail(reader, browser.stderr_tail), name="chromium-stderr")
    browser.gone.add_done_callback(lambda _gone: drain.cancel())
    return int(match[1]), match[2]


async def _keep_tail(reader: asyncio.StreamReader, tail: deque[str]) -> None:
    while chunk := await reader.read(4096):
        tail.append(chunk.decode(errors="replace").strip()[-400:])


async def _read_version_and_page(browser: Chromium) -> None:
    """Read the browser's version and the id of its first page."""
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
