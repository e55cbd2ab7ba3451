"""A bubblewrap jail for one Chromium: no host files except programs and fonts, no network except loopback.

A jail has `/usr`, fonts and certificates read-only, three tmpfs folders of limited size, and a network namespace with
only `lo`. No host path is writable, so a jail leaves no files, however it ends. Chromium's own sandbox stays on. If the
runner is root, each jail runs as a separate host uid, which owns no files.

bubblewrap itself starts with an empty environment: the jailed program can read the environment, the arguments and the
descriptors of its pid 1. For the same reason its arguments hold no path of the runner's home.

The jailed program waits for a line from the runner (`gated`), which first sets the limits that bubblewrap cannot set:
the number of inodes, rlimits, and the control group.

The jail ends with Chromium (bubblewrap's pid 1 exits, and the pid namespace with it), with bubblewrap, and with the
runner (`--die-with-parent`). In the first milliseconds of a jail, before every process has set PR_SET_PDEATHSIG, it can
outlive the runner. Therefore Chromium also reads from a pipe that the runner holds, see `gated`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

HOME = "/home/agent"
TEMPORARY = "/tmp"  # noqa: S108 (in the jail)
MAC_TEMPORARY = "/var/folders"  # clients tell a browser to download into a temporary folder of their own machine
FONT_CACHE = "/var/cache/browsa-fonts"
PROXY_PORT = 3128
# Where Chromium, Chrome and Chrome for Testing (which Playwright installs) read managed policies.
POLICY_PATHS = tuple(
    f"/etc/{name}/policies/managed/browsa.json" for name in ("chromium", "opt/chrome", "opt/chrome_for_testing")
)
POLICY = Path(__file__).with_name("chromium_policy.json").read_bytes()

# What a jailed program can write: folder, bytes, inodes. An inode costs about 1 KiB of kernel memory.
WRITABLE = (
    ("/dev/shm", 512 * 2**20, 16_384),  # noqa: S108 (in the jail)
    (TEMPORARY, 128 * 2**20, 8_192),
    (HOME, 512 * 2**20, 32_768),
)
WRITABLE_BYTES = sum(size + 1024 * inodes for _folder, size, inodes in WRITABLE)

# A jail that runs as the host's root owns these device nodes and could change their modes for the whole host.
# bubblewrap's `--remount-ro` would also prevent opening them, so the socket helper makes them read-only.
DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty"))

# The same as in container runtimes (OCI runtime-tools, runc's defaults): kernel files that root may write, or that
# contain information about the host.
READ_ONLY = ("/proc/sys",)  # bubblewrap itself covers sysrq-trigger, irq and bus where they are writable
MASKED_FILES = tuple(
    f"/proc/{name}"
    for name in ("cmdline", "interrupts", "kcore", "keys", "latency_stats", "mtrr", "sched_debug", "timer_list")
)
MASKED_FOLDERS = tuple(f"/proc/{name}" for name in ("acpi", "asound", "fs", "pressure", "scsi"))

INSIDE_UID = 1000
MARKER = "BROWSA_JAIL_OF"


class JailError(Exception):
    """A jail cannot be created; the message has the reason and what to do."""


@dataclass(frozen=True, slots=True)
class JailSpec:
    """`browser` is the folder of the Chromium binary; `marker` is `marker_of` the runner's home. `uid` is the host uid
    of the jail, None for the uid of the runner. `environment` is added to the jail's own. `files` are the contents of
    read-only files by their paths in the jail, `own_files` of files that the jailed program may change. `fonts` is a
    host folder with fontconfig's caches.
    """

    browser: Path
    marker: str
    uid: int | None
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    own_files: Mapping[str, bytes] = field(default_factory=dict)
    fonts: Path | None = None


@dataclass(frozen=True, slots=True)
class Jailed:
    """A started bubblewrap. `init` is the pid of the jail's pid 1 in our pid namespace."""

    process: subprocess.Popen[bytes]
    init: int


def marker_of(home: Path) -> str:
    """Marks the jails of one home in the process list. A jailed program can read it, so it is a hash of the path."""
    return hashlib.sha256(os.fsencode(home)).hexdigest()[:16]


def chromium_folder(browser: Path) -> str:
    """The path in the jail of the host's folder `browser`: the same below /usr, else /opt/chromium."""
    return str(browser) if browser.is_relative_to("/usr") else "/opt/chromium"


def bwrap_arguments(spec: JailSpec, *, info_fd: int, file_fds: Mapping[str, int], root: Path = Path("/")) -> list[str]:
    """bubblewrap's arguments before the program. `file_fds` has a descriptor to read each file of the spec from.

    `root` is the host's root folder (another one in tests).
    """
    arguments = [
        # `--unshare-all` alone continues without a user namespace when the kernel refuses one.
        "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv",
        "--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID), "--hostname", "browsa",
        "--info-fd", str(info_fd),
        "--ro-bind", "/usr", "/usr", "--tmpfs", "/usr/local", "--tmpfs", "/usr/src",
    ]  # fmt: skip
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        arguments += _top_level_folder(root, name)
    for path in (
        "/etc/fonts",
        "/etc/ssl/certs",
        "/etc/ld.so.cache",
        "/var/cache/fontconfig",
        "/usr/local/share/fonts",
    ):
        arguments += ["--ro-bind-try", path, path]
    if spec.fonts is not None:
        arguments += ["--ro-bind-try", str(spec.fonts), FONT_CACHE]
    if chromium_folder(spec.browser) != str(spec.browser):
        arguments += ["--ro-bind", str(spec.browser), chromium_folder(spec.browser)]
    arguments += [
        *(word for path in (POLICY_PATHS[0], *spec.files) for word in ("--ro-bind-data", str(file_fds[path]), path)),
        *(argument for path in POLICY_PATHS[1:] for argument in ("--symlink", POLICY_PATHS[0], path)),
        "--proc", "/proc", "--dev", "/dev",
        *_proc_arguments(root),
        *(argument for folder, size, _inodes in WRITABLE for argument in ("--size", str(size), "--tmpfs", folder)),
        *(argument for path in spec.own_files for argument in ("--file", str(file_fds[path]), path)),
        "--symlink", TEMPORARY, MAC_TEMPORARY,
        *(argument for folder in ("/usr/local", "/usr/src", "/dev", "/") for argument in ("--remount-ro", folder)),
        "--chdir", HOME,
        "--setenv", "HOME", HOME, "--setenv", "PATH", "/usr/bin", "--setenv", "LANG", "en_US.UTF-8",
        *(argument for name, value in spec.environment.items() for argument in ("--setenv", name, value)),
        "--setenv", MARKER, spec.marker,
    ]  # fmt: skip
    return [*arguments, "--"]


def _top_level_folder(root: Path, name: str) -> list[str]:
    """Arguments for `/lib` and similar: a symlink into /usr on a merged system, a folder on others."""
    path = root / name
    if path.is_symlink():
        return ["--symlink", os.readlink(path).lstrip("/"), f"/{name}"]
    return ["--ro-bind", f"/{name}", f"/{name}"] if path.is_dir() else []


def _proc_arguments(root: Path) -> list[str]:
    arguments: list[str] = []
    for path in READ_ONLY:
        arguments += _if_exists(root, path, "--ro-bind", path, path)
    for path in MASKED_FILES:  # bubblewrap's bind mounts have nodev, so opening it fails
        arguments += _if_exists(root, path, "--ro-bind", "/dev/null", path)
    for path in MASKED_FOLDERS:
        arguments += _if_exists(root, path, "--tmpfs", path, "--remount-ro", path)
    return arguments


def _if_exists(root: Path, path: str, *arguments: str) -> tuple[str, ...]:
    return arguments if (root / path.lstrip("/")).exists() else ()


def gated(command: Sequence[str]) -> list[str]:
    """A shell command that writes a line, reads one, and then executes `command`.

    The runner answers when the limits are set. The standard input and output become the pipe of
    `--remote-debugging-pipe` (descriptors 3 and 4). The runner writes nothing more to it, but when it ends, the pipe
    closes and Chromium exits.
    """
    script = 'echo; read -r go && exec "$@" 3<&0 4>&1 </dev/null >/dev/null'
    return ["sh", "-c", script, "sh", *command, "--remote-debugging-pipe"]


def start(spec: JailSpec, command: Sequence[str], *, stderr: int) -> Jailed:
    """Start `command` in a new jail. Blocks for the few milliseconds of bubblewrap's setup. Raises JailError.

    Its standard input and output are pipes of the returned process.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise JailError("bubblewrap is not installed. Install it (Debian: apt install bubblewrap).")
    with ExitStack() as stack:
        info_read, info_write = os.pipe()
        stack.callback(os.close, info_read)
        closing_write = stack.enter_context(ExitStack())
        closing_write.callback(os.close, info_write)
        contents = {POLICY_PATHS[0]: POLICY, **spec.files, **spec.own_files}
        file_fds = {path: _readable(content, stack) for path, content in contents.items()}
        try:
            process = subprocess.Popen(
                [bwrap, *bwrap_arguments(spec, info_fd=info_write, file_fds=file_fds), *command],
                env={},
                pass_fds=[info_write, *file_fds.values()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd="/",
                user=spec.uid,
                group=spec.uid,
                extra_groups=None if spec.uid is None else [],
            )
        except OSError as error:
            raise JailError(f"bubblewrap did not start: {error}") from error
        closing_write.close()
        info = _read_all(info_read)
    try:
        return Jailed(process, int(json.loads(info)["child-pid"]))
    except (ValueError, KeyError) as error:
        process.kill()
        process.communicate()
        raise JailError("bubblewrap could not create the jail") from error


def _readable(content: bytes, stack: ExitStack) -> int:
    """A descriptor to read `content` from, closed with `stack`."""
    fd = os.memfd_create("jail-file")
    stack.callback(os.close, fd)
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _read_all(fd: int) -> bytes:
    chunks = []
    while chunk := os.read(fd, 4096):
        chunks.append(chunk)
    return b"".join(chunks)


def probe(spec: JailSpec) -> None:
    """Create a jail that checks its Chromium and its user namespace. Raises JailError with the reason and a remedy."""
    binary = f"{chromium_folder(spec.browser)}/."
    read, write = os.pipe()
    try:
        jailed = start(spec, ["sh", "-c", 'readlink /proc/self/ns/user; test -x "$1"', "sh", binary], stderr=write)
    except JailError as error:
        os.close(write)
        raise JailError(_remedy(str(error), _read_all(read).decode(errors="replace"))) from error
    else:
        os.close(write)
        stderr = _read_all(read).decode(errors="replace")
        namespace = jailed.process.communicate()[0].decode().strip()
        if jailed.process.returncode != 0:
            raise JailError(_remedy("Chromium is not visible in the jail", stderr))
        if namespace in ("", os.readlink("/proc/self/ns/user")):
            raise JailError(_remedy("the jail has no separate user namespace", stderr))
    finally:
        os.close(read)


def _remedy(what: str, stderr: str) -> str:
    return (
        f"{what}: {stderr.strip() or 'no reason given'}. A jail needs Linux, bubblewrap and unprivileged user"
        " namespaces (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0, or a"
        " container with its seccomp profile relaxed). For development only, BROWSA_JAIL=off runs browsers without one."
    )


def kill_leftovers(home: Path) -> int:
    """Kill the jails that a previous runner of this home left. Returns the number of killed processes."""
    own = {os.getpid(), os.getppid()}
    # Older versions used the path itself as the marker.
    needles = [["--setenv", MARKER, marker] for marker in (marker_of(home), str(home))]
    killed = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in own:
            continue
        with suppress(OSError):  # the process has exited, or belongs to another user
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if any(arguments[i : i + 3] in needles for i in range(len(arguments))):
                os.kill(int(entry.name), 9)
                killed += 1
    return killed
