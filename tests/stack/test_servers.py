"""The embedded servers: real processes, started, killed and started again."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
import redis

from stack import postgres
from stack.child import command_line
from stack.home import StackError, locate
from stack.servers import Urls, embedded_servers
from tests.patience import PATIENCE

pytestmark = pytest.mark.integration

# Starts the servers, prints their URLs, and waits to be killed.
SUPERVISOR = """
import sys, time
from stack.servers import embedded_servers
with embedded_servers(sys.argv[1]) as urls:
    print(urls.database, urls.redis, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for the module, because creating a database takes most of the time."""
    return tmp_path_factory.mktemp("servers") / "home"


def run_sql(urls: Urls, statement: str) -> list[tuple[object, ...]]:
    with contextlib.closing(psycopg2.connect(urls.database)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def ping(urls: Urls) -> bool:
    with contextlib.closing(redis.Redis.from_url(urls.redis, socket_timeout=PATIENCE)) as client:
        return bool(client.ping())


def servers_below(path: Path) -> list[str]:
    """Command lines of the processes that name the home at `path`."""
    names = (str(path), str(locate(path).sockets))
    lines = [command_line(int(entry.name)) for entry in Path("/proc").glob("[0-9]*")]
    return [line for line in lines if any(name in line for name in names) and "python" not in line]


def test_both_servers_start_answer_and_leave_no_process(home: Path) -> None:
    with embedded_servers(home) as urls:
        assert run_sql(urls, "SELECT current_database()") == [("browsa",)]
        assert ping(urls)

    assert servers_below(home) == []
    assert not locate(home).sockets.exists()


def test_commits_are_durable_and_no_port_is_open(home: Path) -> None:
    with embedded_servers(home) as urls:
        assert run_sql(urls, "SHOW fsync") == [("on",)]
        assert run_sql(urls, "SHOW synchronous_commit") == [("on",)]
        assert run_sql(urls, "SHOW listen_addresses") == [("",)]


def test_a_second_start_finds_the_data(home: Path) -> None:
    with embedded_servers(home) as urls:
        run_sql(urls, "CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")

    with embedded_servers(home) as urls:
        assert run_sql(urls, "SELECT answer FROM kept") == [(42,)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a parent-death signal")
def test_a_killed_supervisor_takes_the_servers_along_and_the_data_survives(home: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(home)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        database, broker = process.stdout.readline().split()
        run_sql(Urls(database, broker), "CREATE TABLE survives AS SELECT 7 AS answer")
        postmaster = int((home / "postgres" / "postmaster.pid").read_text().split()[0])
        ending = os.pidfd_open(postmaster)
        process.kill()
    assert select.select([ending], [], [], PATIENCE)[0], "PostgreSQL outlived its supervisor"
    os.close(ending)

    with embedded_servers(home) as urls:
        assert run_sql(urls, "SELECT answer FROM survives") == [(7,)]


def test_a_stale_pid_file_that_names_a_live_process_does_not_stop_a_start(home: Path) -> None:
    data = home / "postgres"
    with embedded_servers(home) as urls:
        left = (data / "postmaster.pid").read_text()
    # After a power cut another process can have this pid: here one of the same user that is not PostgreSQL.
    (data / "postmaster.pid").write_text(left.replace(left.split("\n", 1)[0], str(os.getpid()), 1))
    locate(home).sockets.mkdir(mode=0o700)
    (locate(home).sockets / "redis.sock").touch()

    with embedded_servers(home) as urls:
        assert ping(urls)
        assert run_sql(urls, "SELECT 1") == [(1,)]


def test_an_interrupted_first_start_leaves_no_incomplete_database(tmp_path: Path) -> None:
    unfinished = tmp_path / "home" / "postgres.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")

    with embedded_servers(tmp_path / "home", durable=False) as urls:
        assert run_sql(urls, "SELECT 1") == [(1,)]

    assert not unfinished.exists()


def test_two_homes_run_side_by_side(home: Path, tmp_path: Path) -> None:
    with embedded_servers(home) as one, embedded_servers(tmp_path / "other", durable=False) as other:
        run_sql(one, "CREATE TABLE IF NOT EXISTS mine AS SELECT 1")
        assert run_sql(other, "SELECT to_regclass('mine')") == [(None,)]


def test_one_home_is_not_started_twice(home: Path) -> None:
    with embedded_servers(home), pytest.raises(StackError, match="BROWSA_HOME"), embedded_servers(home):
        pass


def test_the_error_of_a_server_that_cannot_start_has_its_log(home: Path) -> None:
    configuration = home / "postgres" / "postgresql.auto.conf"
    configuration.write_text("shared_buffers = 'plenty'\n")
    try:
        with pytest.raises(StackError, match="shared_buffers"), embedded_servers(home):
            pass
    finally:
        configuration.write_text("")
    assert servers_below(home) == []


def test_an_orphaned_postgres_is_ended_before_the_next_starts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel has no parent-death signal, a killed supervisor leaves its server running."""
    monkeypatch.setattr(postgres, "_STALE_PATIENCE", PATIENCE)
    where = locate(home)
    where.sockets.mkdir(mode=0o700)
    where.postgres_sockets.mkdir(mode=0o700)
    server = postgres.Postgres(where, postgres.choose_os_user(where))
    command = server.command()
    end = command.index("--death-signal")
    orphan = subprocess.Popen(
        [*command[:end], *command[end + 2 :]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    pid_file = home / "postgres" / "postmaster.pid"
    while not (pid_file.exists() and "ready" in pid_file.read_text()):
        assert orphan.poll() is None
        select.select([], [], [], 0.01)

    with embedded_servers(home) as urls:
        assert run_sql(urls, "SELECT 1") == [(1,)]

    assert orphan.wait(PATIENCE) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_without_user_namespaces_root_becomes_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(postgres, "_can_run", lambda os_user, command=(): os_user.option[:1] == ("--setuid",))
    # other users cannot enter pytest's directories
    with tempfile.TemporaryDirectory(prefix="browsa-test-") as directory:
        Path(directory).chmod(0o711)
        home = Path(directory) / "home"
        for _ in range(2):
            with embedded_servers(home, durable=False) as urls:
                assert run_sql(urls, "SELECT 1") == [(1,)]
        assert (home / "postgres").stat().st_uid != 0


def test_an_unreachable_database_of_the_operators_is_named() -> None:
    with pytest.raises(StackError, match="DATABASE_URL"):
        postgres.check("postgresql://postgres@/browsa?host=/nonexistent")


def test_signals_used_are_postgres_fast_shutdown() -> None:
    assert postgres.STOP_SIGNAL == signal.SIGINT
