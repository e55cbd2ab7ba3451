"""A worker as it runs in production delivers, and ends when it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlencode

from django.conf import settings
from django.db import connection

from apps.webhooks.models import Delivery
from tests.cast import Member
from tests.fakes.receivers import Receivers
from tests.webhooks.making import happen, listen, until

ROOT = Path(__file__).resolve().parents[2]


def test_a_worker_delivers_from_its_start_to_its_end(carol: Member, receivers: Receivers) -> None:
    shop = receivers.answering(200)
    command = [sys.executable, "-m", "celery", "-A", "browsa", "--quiet", "worker", "--pool", "threads"]
    options = ["--concurrency", "2", "--loglevel", "ERROR", "--without-gossip", "--without-mingle"]
    with subprocess.Popen([*command, *options], env=_environment(shop.port), cwd=ROOT) as worker:
        try:
            listen(carol, shop.url())
            events = set(happen(carol, count=50))
            until(lambda: {got.headers["webhook-id"] for got in shop.got} >= events, seconds=60)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
        finally:
            worker.kill()

    assert not Delivery.objects.exclude(status="delivered").exists(), "what was in the air was recorded"


def _environment(port: int) -> dict[str, str]:
    where = connection.settings_dict
    login = quote(where["USER"]) + (f":{quote(where['PASSWORD'])}" if where["PASSWORD"] else "")
    server = where["HOST"] + (f":{where['PORT']}" if where["PORT"] else "")
    return {
        **os.environ,
        "DATABASE_URL": f"postgresql://{login}@{server}/{where['NAME']}?{urlencode(where['OPTIONS'])}",
        "REDIS_URL": settings.REDIS_URL,
        "BROWSA_HOME": str(settings.BROWSA_HOME),
        "BROWSA_SECRET_KEY": settings.SECRET_KEY,
        "BROWSA_ALLOW_ADDRESSES": f"127.0.0.1:{port}",
        "PYTHONWARNINGS": "ignore",
    }
