"""POST /v1/quick/crawl: breadth first, each page once, within robots.txt, and on again after a worker has died."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connections
from django.utils import timezone

from apps.jobs.models import Job, JobPage
from apps.jobs.pages import rows
from runner.wire import PageFailure, PageResult
from tests.cast import Member
from tests.fakes.pages import FakePages
from tests.fakes.served import ServedApi
from tests.jobs.conftest import Work
from tests.jobs.making import seconds_to_cancel
from tests.patience import keeps_to, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("books_add_up")]

SITE = "http://site.test"
ROBOTS = f"{SITE}/robots.txt"


@pytest.fixture
def graph(pages: FakePages) -> FakePages:
    """/ → a, b; a → c, /; b → c, d; d → e."""
    for path, links in {"/": ["a", "b", "a#top"], "/a": ["c", "/"], "/b": ["c", "d"], "/d": ["e"]}.items():
        pages.site(SITE + path, links=links)
    return pages


def crawl(api: ServedApi, member: Member, **fields: Any) -> dict[str, Any]:
    reply = api.post(member, "/v1/quick/crawl", {"url": SITE, **fields})
    assert reply.status == 202, reply.content
    body: dict[str, Any] = reply.body
    return body


def job_of(api: ServedApi, member: Member, accepted: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = api.get(member, f"/v1/jobs/{accepted['id']}").body
    return body


def paths(job: dict[str, Any]) -> list[str]:
    return [page["url"].removeprefix(SITE) for page in job["result"]["pages"]]


def test_a_crawl_goes_breadth_first_and_visits_each_page_once(
    api: ServedApi, carol: Member, graph: FakePages, work: Work
) -> None:
    accepted = crawl(api, carol, max_depth=5)
    assert (accepted["kind"], accepted["progress_total"]) == ("crawl", 10)
    assert carol.credits() == (100, 10)

    work(accepted)

    job = job_of(api, carol, accepted)
    assert (job["status"], job["credits_charged"]) == ("completed", 6)
    assert (job["progress_done"], job["progress_total"]) == (6, 6)
    assert paths(job) == ["/", "/a", "/b", "/c", "/d", "/e"]
    assert [page["depth"] for page in job["result"]["pages"]] == [0, 1, 1, 2, 2, 3]
    assert (job["result"]["completed"], job["result"]["failed"]) == (6, 0)
    first = job["result"]["pages"][0]
    assert first["html"] == f"<h1>{SITE}/</h1>"
    assert "links" not in first and not any(name.startswith("_") for name in first)
    assert carol.credits() == (94, 0)
    assert carol.get(f"/v1/agents/{first['agent_id']}").status == 200


def test_depth_and_pages_are_bounds(api: ServedApi, carol: Member, graph: FakePages, work: Work) -> None:
    shallow, few = crawl(api, carol, max_depth=1), crawl(api, carol, max_pages=4, formats=["links"])

    work(shallow)
    work(few)

    assert paths(job_of(api, carol, shallow)) == ["/", "/a", "/b"]
    assert paths(job_of(api, carol, few)) == ["/", "/a", "/b", "/c"]
    assert job_of(api, carol, few)["result"]["pages"][0]["links"] == [f"{SITE}/a", f"{SITE}/b", f"{SITE}/a#top"]
    assert carol.credits() == (93, 0)


def test_pages_beyond_the_size_of_a_job_fail_and_are_free(
    api: ServedApi, carol: Member, graph: FakePages, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MAX_JOB_BYTES", 1)  # reached with the start
    accepted = crawl(api, carol, respect_robots=False)

    work(accepted)

    pages = job_of(api, carol, accepted)["result"]["pages"]
    assert [page.get("error_code") for page in pages] == [None, "PAYLOAD_TOO_LARGE", "PAYLOAD_TOO_LARGE"]
    assert graph.urls() == [f"{SITE}/"]
    assert carol.credits() == (99, 0)


def test_globs_and_origins(api: ServedApi, carol: Member, pages: FakePages, work: Work) -> None:
    pages.site(f"{SITE}/", links=["/blog/1", "/blog/drafts/2", "/shop", "http://other.test/blog/3", "mailto:a@b.c"])
    chosen = crawl(api, carol, include=["/blog/*"], exclude=["*drafts*"])
    everywhere = crawl(api, carol, include=["*/blog/*"], same_origin=False)

    work(chosen)
    work(everywhere)

    assert paths(job_of(api, carol, chosen)) == ["/", "/blog/1"]
    assert paths(job_of(api, carol, everywhere)) == ["/", "/blog/1", "/blog/drafts/2", "http://other.test/blog/3"]


def test_robots_txt_is_asked_once_and_respected(api: ServedApi, carol: Member, graph: FakePages, work: Work) -> None:
    rules = "User-agent: *\nDisallow: /\n\nUser-agent: browsa\nDisallow: /b\nAllow: /\n"
    graph.site(ROBOTS, text=rules)
    accepted = crawl(api, carol)

    work(accepted)

    job = job_of(api, carol, accepted)
    assert paths(job) == ["/", "/a", "/c"]
    assert (job["progress_done"], job["progress_total"]) == (3, 3)
    assert [r.url for r in graph.requests].count(ROBOTS) == 1
    assert carol.credits() == (97, 0)


@pytest.mark.parametrize(
    "answer",
    [
        PageResult(ROBOTS, 204, "", 1, body=""),
        PageResult(ROBOTS, 404, "", 1, body="User-agent: *\nDisallow: /", content_type="text/plain"),
        PageResult(ROBOTS, 200, "", 1, body="<!doctype html><p>No such page", content_type="text/html"),
    ],
)
def test_a_site_without_rules_is_visited(
    api: ServedApi, carol: Member, graph: FakePages, work: Work, answer: PageResult
) -> None:
    graph.script(ROBOTS, answer)
    accepted = crawl(api, carol, max_depth=0)

    work(accepted)

    assert paths(job_of(api, carol, accepted)) == ["/"]


@pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream", ""])
def test_robots_txt_is_read_as_it_was_sent(
    api: ServedApi, carol: Member, graph: FakePages, work: Work, content_type: str
) -> None:
    rules = "\ufeffUser-agent: *\nDisallow: /b\n"
    graph.script(ROBOTS, PageResult(ROBOTS, 200, "", 1, body=rules, content_type=content_type))
    accepted = crawl(api, carol, max_depth=1)

    work(accepted)

    assert paths(job_of(api, carol, accepted)) == ["/", "/a"]
    (asked,) = [request for request in graph.requests if request.url == ROBOTS]
    assert asked.formats == ["body"]


def test_robots_txt_is_not_asked_when_it_does_not_matter(
    api: ServedApi, carol: Member, graph: FakePages, work: Work
) -> None:
    graph.site(ROBOTS, text="User-agent: *\nDisallow: /\n")
    accepted = crawl(api, carol, respect_robots=False, max_depth=1)

    work(accepted)

    assert paths(job_of(api, carol, accepted)) == ["/", "/a", "/b"]
    assert ROBOTS not in [r.url for r in graph.requests]


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (PageResult(ROBOTS, 200, "", 1, body="User-agent: *\nDisallow: /"), "URL_NOT_ALLOWED", "does not allow Browsa"),
        (PageResult(ROBOTS, 503, "", 1, body="later"), "UPSTREAM_UNAVAILABLE", "answers 503"),
        (PageFailure("unreachable", "net::ERR_NAME_NOT_RESOLVED", ROBOTS), "UPSTREAM_UNAVAILABLE", "ERR_NAME_NOT"),
    ],
)
def test_a_start_that_robots_txt_forbids_fails_the_crawl(
    api: ServedApi, carol: Member, graph: FakePages, work: Work, answer: Any, code: str, words: str
) -> None:
    graph.script(ROBOTS, answer)
    accepted = crawl(api, carol)

    work(accepted)

    job = job_of(api, carol, accepted)
    assert (job["status"], job["error_code"], job["credits_charged"]) == ("failed", code, 0)
    assert words in job["error_message"] and "respect_robots" in job["error_message"]
    assert graph.urls() == []
    assert carol.credits() == (100, 0)


def test_a_start_that_cannot_be_reached_fails_the_crawl(
    api: ServedApi, carol: Member, graph: FakePages, work: Work
) -> None:
    graph.script(f"{SITE}/", PageFailure("unreachable", "net::ERR_CONNECTION_REFUSED", SITE))
    accepted = crawl(api, carol)

    work(accepted)

    job = job_of(api, carol, accepted)
    assert (job["status"], job["error_code"]) == ("failed", "UPSTREAM_UNAVAILABLE")
    assert carol.credits() == (100, 0)


def test_failed_pages_redirects_and_duplicates(api: ServedApi, carol: Member, pages: FakePages, work: Work) -> None:
    pages.site(f"{SITE}/", links=["/gone", "/old", "/new", "/away"], landed=f"{SITE}/home")
    pages.script(f"{SITE}/gone", PageFailure("download", "the URL is a file", f"{SITE}/gone"))
    pages.site(f"{SITE}/old", landed=f"{SITE}/home")
    pages.site(f"{SITE}/away", landed="http://other.test/", links=["/x"])
    accepted = crawl(api, carol)

    work(accepted)

    job = job_of(api, carol, accepted)
    rows = {page["url"].removeprefix(SITE): page for page in job["result"]["pages"]}
    assert list(rows) == ["/", "/gone", "/new", "/away"], "/old led to a page that we have"
    assert rows["/"]["final_url"] == f"{SITE}/home"
    assert (rows["/gone"]["status"], rows["/gone"]["error_code"]) == ("failed", "UPSTREAM_UNAVAILABLE")
    assert (rows["/away"]["status"], rows["/away"]["error_code"]) == ("failed", "URL_NOT_ALLOWED")
    assert (job["result"]["completed"], job["result"]["failed"]) == (2, 2)
    assert (job["credits_charged"], job["progress_done"]) == (2, 5)


def test_another_worker_goes_on_where_one_died(
    api: ServedApi, carol: Member, graph: FakePages, work: Work, settings: LazySettings
) -> None:
    settings.JOB_CLAIM_SECONDS = 3600  # no heartbeat comes in between
    graph.hold(f"{SITE}/c")
    gate = graph.hold(f"{SITE}/d")
    accepted = crawl(api, carol, max_depth=5)
    working = threading.Thread(target=_work_and_close, args=(work, accepted))
    working.start()
    graph.await_held()
    _until_rows(3, of=accepted)

    # Another worker claims the job, as when a process is stopped for too long; the first one gives up.
    Job.objects.update(claim_until=timezone.now() - timedelta(seconds=1))
    graph._gates.clear()
    _another_worker(accepted)
    assert job_of(api, carol, accepted)["status"] == "completed"
    gate.set()
    working.join()

    job = job_of(api, carol, accepted)
    assert paths(job) == ["/", "/a", "/b", "/c", "/d", "/e"]
    assert [graph.urls().count(SITE + path) for path in ("/", "/a", "/b")] == [1, 1, 1]
    assert (job["progress_done"], job["credits_charged"]) == (6, 6)
    assert carol.credits() == (94, 0)


def test_a_crawl_is_cancelled_within_a_second(api: ServedApi, carol: Member, pages: FakePages, work: Work) -> None:
    def cancelled() -> float:
        pages.reset()
        pages.site(f"{SITE}/", links=["a", "b"])
        pages.hold(f"{SITE}/a")
        pages.hold(f"{SITE}/b")
        credits, _ = carol.credits()
        accepted = crawl(api, carol)
        working = threading.Thread(target=_work_and_close, args=(work, accepted))
        working.start()
        pages.await_held()
        _until_rows(1, of=accepted)

        api.post(carol, f"/v1/jobs/{accepted['id']}/cancel")
        working.join()

        pages.await_freed(f"{SITE}/a")
        pages.await_freed(f"{SITE}/b")
        job = job_of(api, carol, accepted)
        assert (job["status"], job["credits_charged"]) == ("cancelled", 1)
        assert carol.credits() == (credits - 1, 0)
        return seconds_to_cancel(uuid.UUID(accepted["id"]))

    keeps_to(1.5, cancelled)


def _another_worker(accepted: dict[str, Any]) -> None:
    from apps.jobs.worker.worker import Worker

    worker = Worker(owner="another")
    worker.run(uuid.UUID(accepted["id"]))
    worker.close()


def _until_rows(count: int, *, of: dict[str, Any]) -> None:
    until(lambda: JobPage.objects.filter(job_id=of["id"]).count() >= count, what=f"{count} rows")


def _work_and_close(work: Work, accepted: dict[str, Any]) -> None:
    try:
        work(accepted)
    finally:
        connections.close_all()


def test_start_url_is_another_name_of_url(api: ServedApi, carol: Member) -> None:
    named = api.post(carol, "/v1/quick/crawl", {"start_url": "http://site.test/", "max_pages": 3})
    neither = api.post(carol, "/v1/quick/crawl", {"max_pages": 3})

    assert named.status == 202
    assert Job.objects.get(id=named.body["id"]).params["url"] == "http://site.test/"
    assert (neither.status, set(neither.body["fields"])) == (400, {"url"})
