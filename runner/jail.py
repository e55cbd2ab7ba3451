"""Where a Chromium runs: a bubblewrap jail with nothing of the host in it and no network but its own loopback.

In the jail: `/usr`, fonts and certificates read-only, a memory-backed home of bounded size, and a network namespace
with only `lo`. No host path is writable, so a jail that ends by any means leaves no file behind. Chromium's own
sandbox stays on inside. As root, each jail runs as a host uid of its own that owns nothing.

The jail ends with Chromium (bubblewrap's pid 1 goes, and the pid namespace with it), with bubblewrap, and with the
runner (`--die-with-parent`). That last chain has a gap in the first milliseconds of a jail, before each process has
asked the kernel to end with its parent; so Chromium itself also holds a lifeline, see `with_lifeline`.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

HOME = "/home/agent"
PROXY_PORT = 3128
# Where Chromium, Chrome and Chrome for Testing (which Playwright installs) read managed policies.
POLICY_PATHS = tuple(
    f"/etc/{name}/policies/managed/browsa.json" for name in ("chromium", "opt/chrome", "opt/chrome_for_testing")
)
POLICY = Path(__file__).with_name("chromium_policy.json")

HOME_BYTES = 512 * 2**20
SHM_BYTES = 512 * 2**20
TMP_BYTES = 128 * 2**20

# An unused stretch of the uid space (systemd, docs/UIDS-GIDS.md: 1879048192 to 2147352575).
FIRST_UID = 1_900_000_000
UID_COUNT = 10_000

INSIDE_UID = 1000


class JailError(Exception):
    """No jail can be made here; the message says what failed and what to do."""


@dataclass(frozen=True, slots=True)
class JailSpec:
    """`browser` is the folder of the Chromium binary; `marker` names the runner's home in the process list. The
    `timezone` is IANA's name; empty for UTC.
    """

    browser: Path
    marker: str
    uid: int | None
    timezone: str = ""


@dataclass(frozen=True, slots=True)
class Jailed:
    """A started bubblewrap. `init` is the jail's pid 1, in our pid namespace."""

    process: subprocess.Popen[bytes]
    init: int


def chromium_folder(browser: Path) -> str:
    """Where the jail sees the folder of the host's `browser`: under /usr as it is, anything else at /opt/chromium."""
    return str(browser) if browser.is_relative_to("/usr") else "/opt/chromium"


def bwrap_arguments(spec: JailSpec, *, info_fd: int, policy_fd: int, root: Path = Path("/")) -> list[str]:
    """bubblewrap's command line up to the program. `root` is the host's root folder (tests give another)."""
    arguments = [
        "bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv",
        "--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID), "--hostname", "browsa",
        "--info-fd", str(info_fd),
        "--ro-bind", "/usr", "/usr", "--tmpfs", "/usr/local", "--tmpfs", "/usr/src",
    ]  # fmt: skip
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        arguments += _top_folder(root, name)
    for path in (
        "/etc/fonts",
        "/etc/ssl/certs",
        "/etc/ld.so.cache",
        "/var/cache/fontconfig",
        "/usr/local/share/fonts",
    ):
        arguments += ["--ro-bind-try", path, path]
    if chromium_folder(spec.browser) != str(spec.browser):
        arguments += ["--ro-bind", str(spec.browser), chromium_folder(spec.browser)]
    arguments += [
        "--ro-bind-data", str(policy_fd), POLICY_PATHS[0],
        *(word for path in POLICY_PATHS[1:] for word in ("--symlink", POLICY_PATHS[0], path)),
        "--proc", "/proc", "--dev", "/dev",
        "--size", str(SHM_BYTES), "--tmpfs", "/dev/shm",  # noqa: S108 (the jail's own)
        "--size", str(TMP_BYTES), "--tmpfs", "/tmp",  # noqa: S108
        "--size", str(HOME_BYTES), "--tmpfs", HOME,
        "--chdir", HOME,
        "--setenv", "HOME", HOME, "--setenv", "PATH", "/usr/bin", "--setenv", "LANG", "en_US.UTF-8",
        *(("--setenv", "TZ", spec.timezone) if spec.timezone else ()),
        "--setenv", "BROWSA_JAIL_OF", spec.marker,
    ]  # fmt: skip
    return [*arguments, "--"]


def _top_folder(root: Path, name: str) -> list[str]:
    """`/lib` and its like: a symlink into /usr on a merged system, a folder of its own on others."""
    path = root / name
    if path.is_symlink():
        return ["--symlink", os.readlink(path).lstrip("/"), f"/{name}"]
    return ["--ro-bind", f"/{name}", f"/{name}"] if path.is_dir() else []


def uids() -> Iterator[int | None]:
    """A host uid for each new jail: its own when we are root, else None (ours)."""
    if os.geteuid() != 0:
        return itertools.repeat(None)
    return (FIRST_UID + n % UID_COUNT for n in itertools.count())


def with_lifeline(command: Sequence[str]) -> list[str]:
    """`command` with its standard input and output as the pipe of `--remote-debugging-pipe` (descriptors 3 and 4).

    Nobody speaks on that pipe. But when the process that holds its other end is gone, Chromium ends itself.
    """
    return ["sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null', "sh", *command, "--remote-debugging-pipe"]


def start(spec: JailSpec, command: Sequence[str], *, stderr: int) -> Jailed:
    """Start `command` in a new jail. Blocks for the few milliseconds that bubblewrap needs. Raises JailError.

    Its standard input and output are pipes that the returned process holds.
    """
    with ExitStack() as stack:
        info_read, info_write = os.pipe()
        stack.callback(os.close, info_read)
        closing_write = stack.enter_context(ExitStack())
        closing_write.callback(os.close, info_write)
        policy = os.open(POLICY, os.O_RDONLY)
        stack.callback(os.close, policy)
        try:
            process = subprocess.Popen(
                [*bwrap_arguments(spec, info_fd=info_write, policy_fd=policy), *command],
                pass_fds=[info_write, policy],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd="/",
                user=spec.uid,
                group=spec.uid,
                extra_groups=None if spec.uid is None else [],
            )
        except OSError as error:
            raise JailError(
                f"bubblewrap did not start: {error}. Install it (Debian: apt install bubblewrap)."
            ) from error
        closing_write.close()
        info = _read_all(info_read)
    try:
        return Jailed(process, int(json.loads(info)["child-pid"]))
    except (ValueError, KeyError) as error:
        process.kill()
        process.communicate()
        raise JailError("bubblewrap could not make the jail") from error


def _read_all(fd: int) -> bytes:
    chunks = []
    while chunk := os.read(fd, 4096):
        chunks.append(chunk)
    return b"".join(chunks)


def probe(spec: JailSpec) -> None:
    """Make a jail that does nothing but look at its Chromium. Raises JailError with the reason and a remedy."""
    binary = f"{chromium_folder(spec.browser)}/."
    read, write = os.pipe()
    try:
        jailed = start(spec, ["test", "-x", binary], stderr=write)
    except JailError as error:
        os.close(write)
        raise JailError(_remedy(str(error), _read_all(read).decode(errors="replace"))) from error
    else:
        os.close(write)
        words = _read_all(read).decode(errors="replace")
        jailed.process.communicate()
        if jailed.process.returncode != 0:
            raise JailError(_remedy("the jail does not see Chromium", words))
    finally:
        os.close(read)


def _remedy(what: str, words: str) -> str:
    return (
        f"{what}: {words.strip() or 'no reason given'}. A jail needs Linux, bubblewrap and unprivileged user namespaces"
        " (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0, or a container"
        " with its seccomp profile relaxed). For development only, BROWSA_JAIL=off runs browsers without one."
    )


def kill_leftovers(marker: str) -> int:
    """Kill the jails of an earlier life of this home's runner; how many there were."""
    own = {os.getpid(), os.getppid()}
    needle = ["--setenv", "BROWSA_JAIL_OF", marker]
    killed = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in own and _has_arguments(entry, needle):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(int(entry.name), 9)
                killed += 1
    return killed


def _has_arguments(entry: Path, needle: list[str]) -> bool:
    try:
        arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return any(arguments[i : i + len(needle)] == needle for i in range(len(arguments)))
