"""`BROWSA_HOME`: the directory of a stack's data, its lock, and the directory of its sockets."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# sun_path holds 108 bytes on Linux and 104 on macOS, the closing NUL included (unix(7)).
_LONGEST_SOCKET_PATH = 107 if sys.platform == "linux" else 103
_LONGEST_SOCKET_NAME = len("/pg/.s.PGSQL.5432")


class StackError(Exception):
    """An error that the operator can correct. The text says what is wrong and what to do."""


@dataclass(frozen=True)
class Home:
    """One stack's directories. `sockets` has a short path, is private, and is absent while no stack runs."""

    path: Path
    sockets: Path

    @property
    def postgres_data(self) -> Path:
        return self.path / "postgres"

    @property
    def postgres_sockets(self) -> Path:
        return self.sockets / "pg"  # a separate directory, because it may belong to another user

    @property
    def redis_socket(self) -> Path:
        return self.sockets / "redis.sock"

    @property
    def runner_socket(self) -> Path:
        return self.sockets / "runner.sock"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def credentials(self) -> Path:
        return self.path / "credentials.json"


def locate(path: Path | str, environ: Mapping[str, str] = os.environ) -> Home:
    """The home at `path`, which may not exist yet. Creates nothing."""
    absolute = Path(path).expanduser().resolve()
    bases = [environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"]  # noqa: S108
    usable = [base for base in bases if os.path.isabs(base) and os.access(base, os.W_OK | os.X_OK)]
    return Home(absolute, socket_directory(absolute, os.geteuid(), usable))


def socket_directory(home: Path, uid: int, bases: list[str]) -> Path:
    """A directory in the first of `bases` in which every socket's path fits.

    Its name is a hash of the home and the user, not random: the next stack finds and reuses the directory of a
    killed one.
    """
    name = f"browsa-{uid}-{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}"
    for base in bases:
        candidate = Path(base) / name
        if len(os.fsencode(candidate)) + _LONGEST_SOCKET_NAME <= _LONGEST_SOCKET_PATH:
            return candidate
    raise StackError(f"No directory is short enough for a Unix socket (tried {', '.join(bases)}). Set TMPDIR=/tmp.")


@contextmanager
def opened(home: Home) -> Iterator[None]:
    """Make the directories and lock `home` for this process. The sockets are removed afterwards.

    Raises StackError when another process holds the lock. The kernel releases it even when the holder is killed.
    """
    private_directory(home.path)
    lock = os.open(home.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "?"
            raise StackError(
                f"Another stack (pid {holder}) runs in {home.path}. Stop it, or start this one with another "
                "BROWSA_HOME and BROWSA_PORT."
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        private_directory(home.sockets)
        shutil.rmtree(home.sockets)  # files of a killed stack
        private_directory(home.sockets)
        try:
            yield
        finally:
            shutil.rmtree(home.sockets, ignore_errors=True)
    finally:
        os.close(lock)


def private_directory(path: Path) -> None:
    """Make `path` a directory that only this user can enter.

    The parent may be world-writable (/tmp), so a symbolic link or another user's entry is refused.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise StackError(
                f"{path} exists and is not a directory that you own. Remove it, then start again."
            ) from None
        if stat.S_IMODE(status.st_mode) & 0o077:
            path.chmod(0o700)
