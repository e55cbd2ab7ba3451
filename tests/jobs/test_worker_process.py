"""A worker as it runs in production that is told to end while it has jobs in hand."""

from __future__ import annotations

import re
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cast import Member
from tests.fakes.pages import FakePages
from tests.fakes.served import ServedApi
from tests.jobs.making import reread, story
from tests.patience import PATIENCE
from tests.processes import worker_process

pytestmark = pytest.mark.django_db(transaction=True)

URL = "http://site.test/slow"


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
        _until(lambda: "requeued" in story(reread(job_id)))
        assert worker.wait(PATIENCE) == 0

    pages.await_freed(URL)
    assert reread(job_id).status == "queued"
    log = (tmp_path / "worker.log").read_text()
    assert not re.search('"level": "(error|critical)"|Traceback|Unclosed', log), log


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
