"""Migrations and the first workspace. Skipped within milliseconds when nothing has changed since the last start.

As a program (`python -m stack.provision`) it does both in one Django process, because starting Django takes
most of the time.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
from pathlib import Path

import psycopg2  # type: ignore[import-untyped]  # it ships no types

from stack.child import ROOT
from stack.home import Home

_MARK = "provisioned"
_MIGRATIONS_DONE = "SELECT count(*), max(id), max(applied)::text FROM django_migrations"


def is_current(home: Home, database_url: str, api_url: str) -> bool:
    """Whether this version of the code was provisioned on this database and the credentials file exists."""
    try:
        credentials = json.loads(home.credentials.read_text())
        return bool(
            credentials.get("api_key")
            and credentials.get("api_url") == api_url
            and (home.path / _MARK).read_text() == _state(database_url)
        )
    except (OSError, ValueError, AttributeError, psycopg2.Error):
        return False


def remember(home: Home, database_url: str) -> None:
    (home.path / _MARK).write_text(_state(database_url))


def _state(database_url: str) -> str:
    """Identifies the code's migrations and the database: by the count, id and time of its newest migration."""
    digest = hashlib.sha256((ROOT / "requirements.txt").read_bytes())
    for path in sorted(ROOT.glob("apps/*/migrations/*.py")):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    connection = psycopg2.connect(database_url, connect_timeout=5)
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(_MIGRATIONS_DONE)
        return f"{digest.hexdigest()} {cursor.fetchone()}\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--credentials", required=True, type=Path)
    parser.add_argument("--api-url", required=True)
    arguments = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "browsa.settings")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", interactive=False, verbosity=0)
    call_command("bootstrap_workspace", credentials=arguments.credentials, api_url=arguments.api_url)


if __name__ == "__main__":
    main()
