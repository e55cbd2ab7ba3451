"""POST /v1/quick/scrape, extract and screenshot, answered synchronously: what a client gets, and what it pays."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.agents.models import Agent
from apps.billing import services
from apps.jobs.models import Job
from apps.jobs.services import sweeps
from runner.wire import PageFailure, PageFailureCode
from tests.cast import Member
from tests.fakes.pages import FakePages, Trouble
from tests.fakes.served import ServedApi
from tests.jobs.making import now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("books_add_up")]

URL = "http://site.test/"


def test_a_scrape_answers_with_the_page(api: ServedApi, carol: Member, pages: FakePages) -> None:
    pages.site(URL, landed="http://site.test/home", html="<p>Hello", title="Home", status=203)

    reply = api.post(carol, "/v1/quick/scrape", {"url": URL})

    assert reply.status == 200, reply.content
    agent_id = reply.body["agent_id"]
    assert reply.body == {
        "url": "http://site.test/home",
        "final_url": "http://site.test/home",
        "http_status": 203,
        "content_type": "text/html",
        "title": "Home",
        "html": "<p>Hello",
        "agent_id": agent_id,
        "trust_score": 640,
        "cost_credits": 1,
        "duration_ms": 7,
    }
    assert carol.credits() == (99, 0)


def test_the_job_of_a_synchronous_call_can_be_read_like_any_other(
    api: ServedApi, carol: Member, pages: FakePages
) -> None:
    pages.site(URL, html="<p>Hello")

    reply = api.ask(carol, "POST", "/v1/quick/scrape", {"url": URL}, headers={"X-Request-Id": "mine-1"})

    (job,) = api.ask(carol, "GET", "/v1/jobs").body["jobs"]
    read = api.ask(carol, "GET", f"/v1/jobs/{job['id']}").body
    assert read["result"] == reply.body
    assert (read["status"], read["progress_done"], read["progress_total"]) == ("completed", 1, 1)
    assert (read["agent_id"], read["request_id"]) == (reply.body["agent_id"], "mine-1")


def test_the_result_of_a_synchronous_call_is_kept_for_a_day(api: ServedApi, carol: Member, pages: FakePages) -> None:
    api.post(carol, "/v1/quick/scrape", {"url": URL})
    (job,) = Job.objects.all()

    assert sweeps.purge_expired_pages(now=now() + timedelta(hours=23)) == 0
    assert sweeps.purge_expired_pages(now=now() + timedelta(hours=25)) == 1
    read = api.ask(carol, "GET", f"/v1/jobs/{job.id}").body
    assert (read["status"], read["result"], read["credits_charged"]) == ("completed", None, 1)


def test_the_job_of_a_page_that_failed_names_its_agent(api: ServedApi, carol: Member, pages: FakePages) -> None:
    pages.script(URL, PageFailure("unreachable", "net::ERR_NAME_NOT_RESOLVED", URL))

    api.post(carol, "/v1/quick/scrape", {"url": URL})

    (job,) = Job.objects.all()
    assert (job.status, job.error_code, job.agent_id) == ("failed", "UPSTREAM_UNAVAILABLE", Agent.objects.get().id)


def test_no_formats_is_the_default_and_only_unknown_ones_are_refused(
    api: ServedApi, carol: Member, pages: FakePages
) -> None:
    assert "html" in api.post(carol, "/v1/quick/scrape", {"url": URL, "formats": []}).body

    refused = api.post(carol, "/v1/quick/scrape", {"url": URL, "formats": ["pdf", "docx"]})
    assert (refused.status, refused.code) == (400, "BAD_REQUEST")
    assert "'pdf', 'docx'" in refused.body["fields"]["formats"][0]


def test_formats_are_given_and_unknown_ones_ignored(api: ServedApi, carol: Member, pages: FakePages) -> None:
    pages.site(URL, html="<h1>Hi</h1><p>a <b>b</b></p>", text="Hi\n\na b", links=["/x", "http://b.test/"])
    formats = ["text", "links", "screenshot", "markdown", "pdf", ""]

    body = api.post(carol, "/v1/quick/scrape", {"url": URL, "formats": formats}).body

    assert body["text"] == "Hi\n\na b"
    assert body["links"] == ["http://site.test/x", "http://b.test/"]
    assert body["screenshot_png_b64"] == "iVBORw0KGgo="
    assert body["markdown"].strip() == "# Hi\n\na **b**"
    assert "html" not in body


def test_the_runner_is_told_what_was_asked_for(api: ServedApi, carol: Member, pages: FakePages) -> None:
    fields = {
        "country": "DE",
        "os_type": "OS_TYPE_LINUX",
        "max_chars": 5,
        "wait_until": "networkidle",
        "wait_for": "#ready",
        "timeout_ms": 1234,
        "block_resources": ["image", "font"],
        "formats": ["markdown", "text"],
    }

    reply = api.post(carol, "/v1/quick/scrape", {"url": URL, **fields})

    (asked,) = pages.requests
    assert reply.body["text"] == "Text "
    assert (asked.url, asked.country, asked.os_family, asked.max_chars) == (URL, "de", "linux", 5)
    assert (asked.wait_until, asked.wait_for, asked.timeout_ms) == ("networkidle", "#ready", 1234)
    assert (asked.block_resources, asked.formats) == (["image", "font"], ["flat", "text"])
    assert asked.queue == str(carol.workspace.id), "each workspace has turns of its own"


def test_defaults(api: ServedApi, carol: Member, pages: FakePages) -> None:
    api.post(carol, "/v1/quick/scrape", {"url": URL, "unheard_of": 1, "wait_for": None})

    (asked,) = pages.requests
    assert (asked.country, asked.os_family, asked.max_chars, asked.formats) == ("us", "macos", 100_000, ["html"])
    assert (asked.wait_until, asked.wait_for, asked.timeout_ms, asked.block_resources) == ("load", None, 60_000, [])


def test_its_agent_can_be_looked_at_and_is_not_listed(api: ServedApi, carol: Member, pages: FakePages) -> None:
    body = api.post(carol, "/v1/quick/scrape", {"url": URL, "os_type": "OS_TYPE_WINDOWS"}).body

    agent = carol.get(f"/v1/agents/{body['agent_id']}").body
    assert (agent["status"], agent["mode"], agent["initial_url"]) == ("destroyed", "burner", URL)
    assert (agent["trust_score"], agent["cost_credits"]) == (640, 1) == (body["trust_score"], body["cost_credits"])
    assert agent["cdp_url"] is None and agent["destroyed_at"] is not None
    assert carol.get("/v1/agents").body["agents"] == []
    assert [a["id"] for a in carol.get("/v1/agents?include=quick").body["agents"]] == [agent["id"]]
    assert carol.get("/v1/agents?include=all").status == 400
    assert carol.events() == [], "neither the agent nor a synchronous job fires an event"


def test_extract_gives_clean_text_and_echoes(api: ServedApi, carol: Member, pages: FakePages) -> None:
    pages.site(URL, text="  A\u00a0 b\t\tc \n\n \n\u200bd\r\n")
    schema = {"type": "object", "properties": {"h1": {"type": "string"}}}

    with_schema = api.post(carol, "/v1/quick/extract", {"url": URL, "schema": schema}).body
    with_prompt = api.post(carol, "/v1/quick/extract", {"url": URL, "prompt": "the H1", "max_chars": 3}).body

    assert (with_schema["text"], with_schema["schema"]) == ("A b c\nd", schema)
    assert (with_prompt["text"], with_prompt["prompt"]) == ("A b", "the H1")
    assert with_prompt["schema"] is None and "prompt" not in with_schema
    assert carol.credits() == (98, 0)


def test_a_screenshot(api: ServedApi, carol: Member, pages: FakePages) -> None:
    whole = api.post(carol, "/v1/quick/screenshot", {"url": URL})
    window = api.post(carol, "/v1/quick/screenshot", {"url": URL, "full_page": False})

    assert whole.body["screenshot_png_b64"] == window.body["screenshot_png_b64"] == "iVBORw0KGgo="
    assert [(r.formats, r.full_page) for r in pages.requests] == [(["screenshot"], True), (["screenshot"], False)]


FAILURES: list[tuple[PageFailureCode, str, int, str, str]] = [
    ("unreachable", "net::ERR_NAME_NOT_RESOLVED", 502, "UPSTREAM_UNAVAILABLE", "net::ERR_NAME_NOT_RESOLVED"),
    ("not_allowed", "it is private", 400, "URL_NOT_ALLOWED", "it is private"),
    ("timeout", "the page did not answer", 504, "UPSTREAM_TIMEOUT", "did not answer"),
    ("download", "the URL is a file (application/pdf)", 502, "UPSTREAM_UNAVAILABLE", "application/pdf"),
    ("too_large", "the page has 50000000 characters", 502, "UPSTREAM_UNAVAILABLE", "50000000"),
    ("bad_selector", "'>' is not a CSS selector", 400, "BAD_REQUEST", "wait_for"),
    ("crashed", "the page's renderer died", 502, "UPSTREAM_UNAVAILABLE", "renderer"),
]


@pytest.mark.parametrize(("failure", "message", "status", "code", "words"), FAILURES)
def test_a_page_that_gives_nothing_is_free(
    api: ServedApi,
    carol: Member,
    pages: FakePages,
    failure: PageFailureCode,
    message: str,
    status: int,
    code: str,
    words: str,
) -> None:
    pages.script(URL, PageFailure(failure, message, URL))

    reply = api.post(carol, "/v1/quick/scrape", {"url": URL})

    assert (reply.status, reply.code) == (status, code)
    assert words in reply.body["error"]
    assert carol.credits() == (100, 0)
    job = Job.objects.get()
    assert (job.status, job.error_code, job.credits_charged) == ("failed", code, 0)
    agent = Agent.objects.get()
    assert (agent.status, agent.quick, agent.error_code, agent.cost_credits) == ("failed", True, code, 0)
    assert carol.events() == []


@pytest.mark.parametrize(
    ("trouble", "status", "code"),
    [
        ("hang_up", 502, "UPSTREAM_UNAVAILABLE"),
        ("draining", 502, "UPSTREAM_UNAVAILABLE"),
        ("garbage", 502, "UPSTREAM_UNAVAILABLE"),
        ("error", 502, "UPSTREAM_UNAVAILABLE"),
        ("no_place", 504, "UPSTREAM_TIMEOUT"),
    ],
)
def test_a_runner_that_fails_costs_nothing(
    api: ServedApi, carol: Member, pages: FakePages, trouble: Trouble, status: int, code: str
) -> None:
    pages.script(URL, trouble, trouble)

    reply = api.post(carol, "/v1/quick/scrape", {"url": URL})

    assert (reply.status, reply.code) == (status, code)
    assert carol.credits() == (100, 0)


@pytest.mark.parametrize("call", ["scrape", "screenshot"])
def test_a_country_without_a_working_upstream_is_a_502_that_names_it_and_costs_nothing(
    api: ServedApi, carol: Member, pages: FakePages, call: str
) -> None:
    pages.script(URL, "no_egress")

    reply = api.post(carol, f"/v1/quick/{call}", {"url": URL, "country": "de"})

    assert (reply.status, reply.code) == (502, "UPSTREAM_UNAVAILABLE")
    assert reply.body["error"] == "No upstream proxy of country de works. It is safe to try again."
    assert carol.credits() == (100, 0)


def test_a_runner_that_closed_a_kept_connection_is_asked_again(api: ServedApi, carol: Member, pages: FakePages) -> None:
    pages.script(URL, "hang_up")

    assert api.post(carol, "/v1/quick/scrape", {"url": URL}).status == 200


def test_without_credits_no_page_is_loaded(api: ServedApi, carol: Member, pages: FakePages) -> None:
    services.hold(workspace_id=carol.workspace.id, amount=100, reference="other", source=services.Source())

    for path, body in (("scrape", {"url": URL}), ("batch", {"urls": [URL]}), ("crawl", {"url": URL})):
        reply = api.post(carol, f"/v1/quick/{path}", body)
        assert (reply.status, reply.code) == (402, "INSUFFICIENT_CREDIT")
    assert not pages.requests
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1/", "http://localhost:80/", "http://169.254.169.254/", "http://[::1]/"]
)
def test_an_address_that_leads_inside_is_refused_at_once(
    api: ServedApi, carol: Member, pages: FakePages, address: str
) -> None:
    for call, body in (("scrape", {"url": address}), ("crawl", {"url": address})):
        refused = api.post(carol, f"/v1/quick/{call}", body)

        assert (refused.status, refused.code, set(refused.body["fields"])) == (400, "URL_NOT_ALLOWED", {"url"})
    assert pages.requests == [] and not Job.objects.exists()


def test_a_page_that_leads_inside_is_refused_with_its_field_and_a_repeat_tries_again(
    api: ServedApi, carol: Member, pages: FakePages
) -> None:
    pages.script(URL, PageFailure("not_allowed", "10.0.0.1 is not public", URL))

    refused = api.post(carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="once")
    again = api.post(carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="once")

    assert (refused.status, refused.code, set(refused.body["fields"])) == (400, "URL_NOT_ALLOWED", {"url"})
    assert (again.status, again.body["url"]) == (200, URL)
    assert carol.credits() == (99, 0)
