"""A stack's home that is made once for a whole run, migrated and provisioned: a copy costs less than another one.

    python -m tests.template HOME      makes it

Only a run that is dealt out to several processes has one: its first process begins to make it, the others wait for it
when they have collected their tests. Their databases are copies of its migrated one. Stacks begin with a copy of it
(`running_stack` here instead of the harness's) unless how a stack starts for the first time is what they are for.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psycopg2

from stack import child, config, harness, postgres, provision
from stack.harness import Stack
from stack.home import locate
from stack.servers import embedded_servers

MIGRATED = "migrated"  # the database that holds what migrations made, and nothing else

_MADE = "made"
_PATIENCE = 300.0
_API_URL = "http://127.0.0.1:8000"  # each copy gets its own
# What the first workspace gets depends on it: with another value there is nothing to copy.
_PROVISIONED_BY = frozenset({"SIGNUP_CREDITS"})

_template: Path | None = None


@contextmanager
def begun(home: Path) -> Iterator[None]:
    """Make the template in `home` meanwhile."""
    command = child.launched([sys.executable, "-m", "tests.template", str(home)])
    environ = harness.own_environment(os.environ)
    with (home.parent / "template.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=child.ROOT, env=environ, stdout=log, stderr=log)
    try:
        yield
    finally:
        child.stop(process, signal.SIGINT, 10)


def use(home: Path) -> None:
    """Wait for the template in `home`; the stacks of this process are copies of it from now on."""
    global _template
    until = time.monotonic() + _PATIENCE
    while not (home / _MADE).exists():
        assert time.monotonic() < until, f"no template in time: {child.tail(home.parent / 'template.log')}"
        time.sleep(0.05)
    _template = home


def copy_databases(home: Path) -> None:
    """Give `home`, which has none, the template's databases."""
    assert _template
    _copy(locate(_template).postgres_data, locate(home).postgres_data)


def running_stack(
    home: Path, port: int | None = None, env: Mapping[str, str] | None = None
) -> AbstractContextManager[Stack]:
    """The harness's, with a first start behind it if there is a template. All copies have the same API key."""
    port = port or harness.free_port()
    if _template and not home.exists() and not _PROVISIONED_BY & set(env or {}):
        _copy(_template, home)
        credentials = {**json.loads((home / "credentials.json").read_text()), "api_url": f"http://127.0.0.1:{port}"}
        config.write_json(home / "credentials.json", credentials, durable=False)
    return harness.running_stack(home, port, env)


def _copy(source: Path, target: Path) -> None:
    """A copy that keeps the owners of the files: PostgreSQL demands its own user."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def make(path: Path) -> None:
    home, environ = locate(path), harness.own_environment(os.environ)
    with embedded_servers(path, durable=False) as urls:
        servers = {"DATABASE_URL": urls.database, "REDIS_URL": urls.redis}
        values = config.compose({}, environ, home, config.port({}), servers)
        config.write_json(path / "stack.json", values, durable=False)
        os.environ.update(config.django_environment(environ, values, home))
        import django
        from django.core.management import call_command
        from django.db import connection

        django.setup()
        call_command("migrate", interactive=False, verbosity=0)
        connection.close()  # a database with connections cannot be copied
        with contextlib.closing(psycopg2.connect(postgres.url(home, "postgres"))) as beside, beside.cursor() as cursor:
            beside.autocommit = True
            cursor.execute(f"CREATE DATABASE {MIGRATED} TEMPLATE {postgres.DATABASE} STRATEGY file_copy")
        call_command("bootstrap_workspace", credentials=home.credentials, api_url=_API_URL)
        connection.close()
        provision.remember(home, urls.database)
    shutil.rmtree(home.logs)
    (path / _MADE).touch()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
