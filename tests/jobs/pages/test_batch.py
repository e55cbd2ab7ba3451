"""POST /v1/quick/batch: rows in order, several pages at once, cancelled and resumed without a page paid twice."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import pytest
from django.conf import LazySettings

from apps.agents.models import Agent
from apps.jobs.models import Job, JobPage
from apps.jobs.pages import rows
from runner.wire import PageFailure, PageRequest
from tests.cast import Member
from tests.fakes.pages import FakePages
from tests.fakes.served import ServedApi
from tests.jobs.conftest import Work
from tests.jobs.making import seconds_to_cancel
from tests.patience import PATIENCE, keeps_to, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("books_add_up")]


def url(number: int) -> str:
    return f"http://site.test/{number}"


def submit(api: ServedApi, member: Member, urls: list[str], **fields: Any) -> dict[str, Any]:
    reply = api.post(member, "/v1/quick/batch", {"urls": urls, **fields})
    assert reply.status == 202, reply.content
    body: dict[str, Any] = reply.body
    return body


def job_of(api: ServedApi, member: Member, accepted: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = api.get(member, f"/v1/jobs/{accepted['id']}").body
    return body


def test_rows_come_in_order_and_a_failed_page_fails_nothing_else(
    api: ServedApi, carol: Member, pages: FakePages, work: Work
) -> None:
    pages.script(url(2), PageFailure("unreachable", "net::ERR_CONNECTION_REFUSED", url(2)))
    pages.site(url(1), landed="http://site.test/one", status=404)

    def first_is_last(request: PageRequest) -> None:
        if request.url == url(0):
            until(lambda: len(pages.requests) == 4 and pages.loading == 1)

    pages.before = first_is_last

    accepted = submit(api, carol, [url(n) for n in range(4)], formats=["text", "links"])
    assert (accepted["kind"], accepted["progress_total"]) == ("batch", 4)
    assert accepted["status_url"].endswith(f"/v1/jobs/{accepted['job_id']}/status")
    assert carol.credits() == (100, 4)
    work(accepted)

    job = job_of(api, carol, accepted)
    result = job["result"]
    assert (job["status"], job["progress_done"], job["credits_charged"]) == ("completed", 4, 3)
    assert (result["completed"], result["failed"]) == (3, 1)
    assert [row["url"] for row in result["results"]] == [url(n) for n in range(4)]
    assert [row["status"] for row in result["results"]] == ["completed", "completed", "failed", "completed"]
    first, second, third, _ = result["results"]
    agent_id = first.pop("agent_id")
    assert first == {
        "url": url(0),
        "status": "completed",
        "final_url": url(0),
        "http_status": 200,
        "content_type": "text/html",
        "title": f"Title of {url(0)}",
        "text": f"Text of {url(0)}",
        "links": [],
        "trust_score": 640,
        "cost_credits": 1,
        "duration_ms": 7,
    }
    assert (second["final_url"], second["http_status"]) == ("http://site.test/one", 404)
    assert third["error_code"] == "UPSTREAM_UNAVAILABLE" and "ERR_CONNECTION_REFUSED" in third["error_message"]
    assert carol.get(f"/v1/agents/{agent_id}").body["cost_credits"] == 1
    assert carol.get(f"/v1/agents/{third['agent_id']}").body["status"] == "failed"
    assert carol.credits() == (97, 0)
    ((kind, event),) = carol.events()
    assert (kind, event["credits_charged"], event["result"]["completed"]) == ("job.completed", 3, 3)


def test_duplicates_are_pages_of_their_own(api: ServedApi, carol: Member, pages: FakePages, work: Work) -> None:
    accepted = submit(api, carol, [url(1)] * 3)

    work(accepted)

    result = job_of(api, carol, accepted)["result"]
    assert [row["url"] for row in result["results"]] == [url(1)] * 3
    assert len({row["agent_id"] for row in result["results"]}) == 3
    assert carol.credits() == (97, 0)


def test_six_pages_load_at_once(api: ServedApi, carol: Member, pages: FakePages, work: Work) -> None:
    together = threading.Barrier(6, timeout=PATIENCE)
    pages.before = lambda request: together.wait()

    work(submit(api, carol, [url(n) for n in range(18)]))

    assert pages.most_at_once == 6


def test_two_batches_of_one_workspace_share_its_places(
    api: ServedApi, carol: Member, pages: FakePages, work: Work, settings: LazySettings
) -> None:
    settings.PAGES_PER_WORKSPACE = 4

    def with_four(request: PageRequest) -> None:
        pages.await_most(4)
        time.sleep(0.01)  # in which a fifth may come

    pages.before = with_four
    batches = [submit(api, carol, [url(n) for n in range(10)]) for _ in range(2)]

    threads = [threading.Thread(target=_work_and_close, args=(work, batch)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [job_of(api, carol, batch)["status"] for batch in batches] == ["completed"] * 2
    assert pages.most_at_once == 4


def test_a_runner_that_is_away_for_a_moment_fails_no_page(
    api: ServedApi, carol: Member, pages: FakePages, work: Work
) -> None:
    pages.script(url(0), "hang_up", "hang_up")
    pages.script(url(1), "draining")
    pages.script(url(2), "no_place")
    accepted = submit(api, carol, [url(n) for n in range(3)])

    work(accepted)

    assert job_of(api, carol, accepted)["result"]["completed"] == 3


def test_a_cancel_is_seen_within_a_second_and_what_is_done_is_paid(
    api: ServedApi, carol: Member, pages: FakePages, work: Work
) -> None:
    def cancelled() -> float:
        pages.reset()
        for number in range(3, 9):
            pages.hold(url(number))
        credits, _ = carol.credits()
        accepted = submit(api, carol, [url(n) for n in range(20)])
        working = threading.Thread(target=_work_and_close, args=(work, accepted))
        working.start()
        pages.await_held()

        assert api.post(carol, f"/v1/jobs/{accepted['id']}/cancel").status == 200
        working.join()

        for number in range(3, 9):
            pages.await_freed(url(number))
        job = job_of(api, carol, accepted)
        assert (job["status"], job["progress_done"], job["credits_charged"]) == ("cancelled", 3, 3)
        assert carol.credits() == (credits - 3, 0)
        found = api.get(carol, f"/v1/jobs/{accepted['id']}/result").body
        assert [row["url"] for row in found["results"]] == [url(n) for n in range(3)]
        return seconds_to_cancel(uuid.UUID(accepted["id"]))

    keeps_to(1.5, cancelled)


def test_another_worker_goes_on_where_one_died(api: ServedApi, carol: Member, pages: FakePages, work: Work) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from apps.jobs.pages import services
    from apps.jobs.services import claims

    accepted = submit(api, carol, [url(n) for n in range(6)])
    dead = claims.claim(job_id=uuid.UUID(accepted["id"]), owner="dead")
    assert dead is not None
    services.store(dead, [rows.failed_row(4, url(4), rows.ResultsFull()), _done(accepted, 0), _done(accepted, 2)])
    Job.objects.update(claim_until=timezone.now() - timedelta(seconds=1))

    work(accepted)

    job = job_of(api, carol, accepted)
    assert (job["status"], job["progress_done"], job["credits_charged"]) == ("completed", 6, 5)
    assert sorted(pages.urls()) == [url(1), url(3), url(5)], "what was done is not done again"
    assert [row["url"] for row in job["result"]["results"]] == [url(n) for n in range(6)]
    assert carol.credits() == (95, 0)


def test_a_worker_that_was_overtaken_changes_nothing(
    api: ServedApi, carol: Member, pages: FakePages, work: Work
) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from apps.jobs.pages import services
    from apps.jobs.services import claims
    from apps.jobs.services.claims import ClaimLost

    accepted = submit(api, carol, [url(n) for n in range(2)])
    stalled = claims.claim(job_id=uuid.UUID(accepted["id"]), owner="stalled")
    assert stalled is not None
    Job.objects.update(claim_until=timezone.now() - timedelta(seconds=1))
    work(accepted)

    with pytest.raises(ClaimLost):
        services.store(stalled, [_done(accepted, 0)])

    assert JobPage.objects.count() == 2 and Agent.objects.count() == 2
    assert carol.credits() == (98, 0)


def test_rows_that_are_stored_twice_count_once(api: ServedApi, carol: Member, pages: FakePages) -> None:
    from apps.jobs.pages import services
    from apps.jobs.services import claims

    accepted = submit(api, carol, [url(n) for n in range(2)])
    claim = claims.claim(job_id=uuid.UUID(accepted["id"]), owner="worker")
    assert claim is not None

    services.store(claim, [_done(accepted, 0)])
    services.store(claim, [_done(accepted, 0), _done(accepted, 1)])

    job = Job.objects.get()
    assert (job.progress_done, job.credits_used) == (2, 2)
    assert Agent.objects.count() == 2


def test_html_is_cut_in_rows(api: ServedApi, carol: Member, pages: FakePages, work: Work) -> None:
    pages.site(url(1), html="x" * (2 * 1024 * 1024 + 1))
    accepted = submit(api, carol, [url(1)])

    work(accepted)

    (row,) = job_of(api, carol, accepted)["result"]["results"]
    assert len(row["html"]) == 2 * 1024 * 1024
    assert row["truncated"] == ["html"]


def test_pages_beyond_what_a_job_may_hold_fail_unread(
    api: ServedApi, carol: Member, pages: FakePages, work: Work, settings: LazySettings
) -> None:
    settings.PAGES_PER_WORKSPACE = 1
    for number in range(36):
        pages.site(url(number), html="x" * (2 * 1024 * 1024))
    accepted = submit(api, carol, [url(n) for n in range(36)])

    work(accepted)

    job = Job.objects.get()
    assert (job.status, job.credits_charged) == ("completed", 32)
    assert len(pages.requests) == 32
    assert JobPage.objects.get(position=35).payload["error_code"] == "PAYLOAD_TOO_LARGE"


def test_text_that_neither_databases_nor_utf_8_can_hold_is_mended(
    api: ServedApi, carol: Member, pages: FakePages, work: Work
) -> None:
    pages.site(url(1), html="a\x00b\ud800c\ud83d\ude00", text="\x00", title="\udfff")
    accepted = submit(api, carol, [url(1)], formats=["html", "text"])

    work(accepted)

    (row,) = job_of(api, carol, accepted)["result"]["results"]
    assert (row["html"], row["text"], row["title"]) == ("a\ufffdb\ufffdc\U0001f600", "\ufffd", "\ufffd")
    assert api.post(carol, "/v1/quick/scrape", {"url": url(1)}).body["html"] == row["html"]


def test_the_pages_of_a_batch_wait_in_the_queue_of_their_workspace(
    api: ServedApi, carol: Member, pages: FakePages, work: Work
) -> None:
    asked: list[PageRequest] = []
    pages.before = asked.append
    accepted = submit(api, carol, [url(n) for n in range(90)])

    work(accepted)

    assert {request.queue for request in asked} == {str(carol.workspace.id)}, "the runner gives queues their turns"


def _done(accepted: dict[str, Any], position: int) -> Any:
    from django.utils import timezone

    from apps.agents.services.quick_agents import QuickAgent, agent_id
    from apps.jobs.pages.services import Row
    from apps.jobs.services.progress import PageRecord

    payload = {"url": url(position), "status": "completed"}
    agent = QuickAgent(
        id=agent_id(uuid.UUID(accepted["id"]), position),
        url=url(position),
        os_type="OS_TYPE_MACOS",
        country="us",
        cost_credits=1,
        started_at=timezone.now(),
    )
    return Row(PageRecord(position, url(position), "completed", payload), agent)


def _work_and_close(work: Work, accepted: dict[str, Any]) -> None:
    from django.db import connections

    try:
        work(accepted)
    finally:
        connections.close_all()


def test_a_batch_of_extractions_and_one_of_screenshots(
    api: ServedApi, carol: Member, pages: FakePages, work: Work
) -> None:
    pages.site(url(0), text=" A  b ")
    extracting = submit(api, carol, [url(0)], mode="extract", prompt="the H1")
    seeing = submit(api, carol, [url(0)], mode="screenshot", full_page=False)
    for accepted in (extracting, seeing):
        work(accepted)

    (text,) = job_of(api, carol, extracting)["result"]["results"]
    (shot,) = job_of(api, carol, seeing)["result"]["results"]
    assert (text["text"], text["prompt"], text["schema"], "html" in text) == ("A b", "the H1", None, False)
    assert (shot["screenshot_png_b64"], "html" in shot) == ("iVBORw0KGgo=", False)
    assert [(asked.formats, asked.full_page) for asked in pages.requests] == [(["text"], True), (["screenshot"], False)]


def test_a_batch_of_extractions_wants_what_an_extraction_wants(api: ServedApi, carol: Member) -> None:
    neither = api.post(carol, "/v1/quick/batch", {"urls": [url(0)], "mode": "extract"})
    unknown = api.post(carol, "/v1/quick/batch", {"urls": [url(0)], "mode": "crawl"})

    assert (neither.status, set(neither.body["fields"])) == (400, {"schema", "prompt"})
    assert (unknown.status, set(unknown.body["fields"])) == (400, {"mode"})
