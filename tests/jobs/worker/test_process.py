"""A worker process, as in production, that is told to end while it runs jobs."""

from __future__ import annotations

import re
import signal
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from celery.signals import worker_init

from apps.jobs.worker import worker
from browsa.celery import app
from tests.cast import Member
from tests.fakes.pages import FakePages
from tests.fakes.served import ServedApi
from tests.jobs.making import reread, story
from tests.patience import PATIENCE, until
from tests.processes import worker_process

pytestmark = pytest.mark.django_db(transaction=True)

URL = "http://site.test/slow"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("call", "how"),
    [
        ("batch", signal.SIGTERM),
        ("batch", signal.SIGQUIT),
        ("scrape", signal.SIGQUIT),  # with SIGTERM it would be finished
    ],
)
def test_what_it_gives_back(
    call: str, how: signal.Signals, api: ServedApi, carol: Member, pages: FakePages, tmp_path: Path
) -> None:
    pages.hold(URL)
    body = {"urls": [URL]} if call == "batch" else {"url": URL, "async": True}
    job_id = uuid.UUID(api.post(carol, f"/v1/quick/{call}", body).body["id"])
    with worker_process(tmp_path) as worker:
        pages.await_loading(1)
        worker.send_signal(how)
        until(lambda: "requeued" in story(reread(job_id)))
        assert worker.wait(PATIENCE) == 0

    pages.await_freed(URL)
    assert reread(job_id).status == "queued"
    log = (tmp_path / "worker.log").read_text()
    assert not re.search('"level": "(error|critical)"|Traceback|Unclosed', log), log


@pytest.fixture
def no_worker_yet() -> Iterator[None]:
    worker.this_worker.cache_clear()
    yield
    worker.this_worker.cache_clear()


def test_it_has_one_worker_though_its_first_jobs_come_at_once(
    monkeypatch: pytest.MonkeyPatch, no_worker_yet: None
) -> None:
    asking, made = threading.Barrier(4), []

    class Slow:
        def __init__(self, *, owner: str) -> None:
            made.append(owner)
            threading.Event().wait(0.1)  # the others ask meanwhile

        def disconnect(self) -> None:
            """Python ends."""

    monkeypatch.setattr(worker, "Worker", Slow)
    app.loader.import_default_modules()
    worker_init.send(sender=None)

    def ask(_: int) -> object:
        asking.wait(PATIENCE)
        return worker.this_worker()

    with ThreadPoolExecutor(4) as threads:
        workers = set(threads.map(ask, range(4)))

    assert len(workers) == len(made) == 1
