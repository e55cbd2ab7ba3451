"""Processes of the product as they run in production, on the tests' own database and Redis."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from django.conf import settings
from django.db import connection

from stack.child import launched

ROOT = Path(__file__).resolve().parents[1]


def environment(home: Path, **more: str) -> dict[str, str]:
    database = connection.get_connection_params()  # what pytest-django made
    where = urlencode({name: database[name] for name in ("user", "password", "host", "port") if name in database})
    return {
        **os.environ,
        "DATABASE_URL": f"postgresql:///{database['dbname']}?{where}",
        "REDIS_URL": settings.REDIS_URL,
        "BROWSA_HOME": str(home),
        "BROWSA_SECRET_KEY": settings.SECRET_KEY,
        "BROWSA_RATE_LIMITS": "off",
        "BROWSA_RUNNER_URL": settings.RUNNER_URL,
        "BROWSA_RUNNER_TOKEN": settings.RUNNER_TOKEN,
        **more,
    }


@contextmanager
def worker_process(home: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker whose output is in `home`/worker.log. It ends with the block, or with the process of the test."""
    command = [sys.executable, "-m", "celery", "-A", "browsa", "--quiet", "worker", "--loglevel", "WARNING"]
    options = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    with (
        (home / "worker.log").open("wb") as log,
        subprocess.Popen(
            launched([*command, *options]), env=environment(home, **env), stdout=log, stderr=log, cwd=ROOT
        ) as it,
    ):
        try:
            yield it
        finally:
            it.kill()
