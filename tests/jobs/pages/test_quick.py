"""POST /v1/quick/scrape, extract and screenshot, in hand and as jobs: what a client gets, and what it pays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from apps.agents.models import Agent
from apps.billing.verification import problems
from apps.jobs.models import Job, JobPage
from apps.jobs.services import sweeps
from apps.jobs.verification import problems as job_problems
from runner.wire import PageFailure, PageFailureCode
from tests.cast import Member
from tests.fakes.pages import FakePages, Trouble
from tests.fakes.served import ServedApi
from tests.jobs.conftest import Work
from tests.jobs.making import after_the_lease, claimed, now
from tests.patience import until

pytestmark = pytest.mark.django_db(transaction=True)

URL = "http://site.test/"


@pytest.fixture(autouse=True)
def books_add_up() -> Any:
    yield
    assert list(problems()) == []


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
    assert list(job_problems()) == []


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


@pytest.mark.parametrize("call", ["scrape", "extract", "screenshot"])
def test_async_in_the_query_means_async(api: ServedApi, carol: Member, pages: FakePages, call: str) -> None:
    reply = api.post(
        carol, f"/v1/quick/{call}?async=true", {"url": URL, **({"prompt": "x"} if call == "extract" else {})}
    )

    assert (reply.status, reply.body["status"], reply.body["kind"]) == (202, "queued", call)
    assert pages.requests == []
    assert api.post(carol, f"/v1/quick/{call}?async=maybe", {"url": URL, "prompt": "x"}).body["fields"].keys() == {
        "async"
    }


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


def test_a_runner_that_closed_a_kept_connection_is_asked_again(api: ServedApi, carol: Member, pages: FakePages) -> None:
    pages.script(URL, "hang_up")

    assert api.post(carol, "/v1/quick/scrape", {"url": URL}).status == 200


def test_without_credits_no_page_is_loaded(api: ServedApi, carol: Member, pages: FakePages) -> None:
    from apps.billing import services

    services.hold(workspace_id=carol.workspace.id, amount=100, reference="other", source=services.Source())

    for path, body in (("scrape", {"url": URL}), ("batch", {"urls": [URL]}), ("crawl", {"url": URL})):
        reply = api.post(carol, f"/v1/quick/{path}", body)
        assert (reply.status, reply.code) == (402, "INSUFFICIENT_CREDIT")
    assert not pages.requests
    assert not Job.objects.exists()


def test_an_asynchronous_call_is_a_job(api: ServedApi, carol: Member, pages: FakePages, work: Work) -> None:
    accepted = api.post(carol, "/v1/quick/scrape", {"url": URL, "async": True})

    assert accepted.status == 202
    assert accepted.body["job_id"] == accepted.body["id"]
    assert (accepted.body["kind"], accepted.body["status"], accepted.body["progress_total"]) == ("scrape", "queued", 1)
    assert carol.credits() == (100, 1)
    work(accepted.body)

    job = api.get(carol, f"/v1/jobs/{accepted.body['id']}").body
    assert (job["status"], job["credits_charged"], job["progress_done"]) == ("completed", 1, 1)
    assert job["result"]["html"] == f"<h1>{URL}</h1>"
    assert job["agent_id"] == job["result"]["agent_id"]
    assert carol.get(f"/v1/agents/{job['agent_id']}").status == 200
    assert carol.credits() == (99, 0)
    assert [kind for kind, _ in carol.events()] == ["job.completed"]


def test_an_asynchronous_job_whose_page_fails_is_free(
    api: ServedApi, carol: Member, pages: FakePages, work: Work
) -> None:
    pages.script(URL, PageFailure("unreachable", "net::ERR_CONNECTION_REFUSED", URL))
    accepted = api.post(carol, "/v1/quick/extract", {"url": URL, "prompt": "x", "async": True})

    work(accepted.body)

    job = api.get(carol, f"/v1/jobs/{accepted.body['id']}").body
    assert (job["status"], job["error_code"], job["credits_charged"]) == ("failed", "UPSTREAM_UNAVAILABLE", 0)
    assert "net::ERR_CONNECTION_REFUSED" in job["error_message"]
    assert carol.credits() == (100, 0)
    assert [kind for kind, _ in carol.events()] == ["job.failed"]


def test_an_asynchronous_job_waits_for_a_runner_that_restarts(
    api: ServedApi, carol: Member, pages: FakePages, work: Work
) -> None:
    accepted = api.post(carol, "/v1/quick/scrape", {"url": URL, "async": True})
    pages.script(URL, "draining")

    work(accepted.body)

    assert api.get(carol, f"/v1/jobs/{accepted.body['id']}").body["status"] == "completed"


def test_a_client_that_goes_away_frees_the_page_and_pays_nothing(
    api: ServedApi, carol: Member, pages: FakePages
) -> None:
    pages.hold(URL)
    client = api.open(carol, "/v1/quick/scrape", {"url": URL})
    pages.await_loading(1)

    client.close()

    pages.await_freed(URL)
    job = _over()
    assert (job.status, job.credits_charged) == ("cancelled", 0)
    assert carol.credits() == (100, 0)
    assert carol.events() == []
    assert not JobPage.objects.exists()


def test_a_client_that_went_away_and_repeats_with_its_key_gets_the_page(
    api: ServedApi, carol: Member, pages: FakePages
) -> None:
    gate = pages.hold(URL)
    with api.open(carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="one"):
        pages.await_loading(1)
    pages.await_freed(URL)
    _over()
    gate.set()

    first = api.post(carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="one")
    second = api.post(carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="one")

    assert first.status == second.status == 200
    assert second.headers["Idempotent-Replay"] == "true"
    assert first.content == second.content
    assert carol.credits() == (99, 0)


def test_a_job_that_is_cancelled_over_the_api_ends_the_call(api: ServedApi, carol: Member, pages: FakePages) -> None:
    pages.hold(URL)
    with api.open(carol, "/v1/quick/scrape", {"url": URL}) as client:
        pages.await_loading(1)
        job = Job.objects.get()
        assert api.post(carol, f"/v1/jobs/{job.id}/cancel").status == 200

        assert client.recv(100).startswith(b"HTTP/1.1 409 ")
    pages.await_freed(URL)
    assert carol.credits() == (100, 0)


def test_the_result_of_a_call_with_a_key_outlives_the_process(api: ServedApi, carol: Member, pages: FakePages) -> None:
    from apps.core.models import IdempotencyKey

    first = api.post(carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="one")
    # As if the process had died between the end of the job and the answer.
    IdempotencyKey.objects.update(status=None, headers=None, body=None)

    second = api.post(carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="one")

    assert (second.status, second.content) == (200, first.content)
    assert second.headers["Idempotent-Replay"] == "true"
    assert len(pages.requests) == 1
    assert carol.credits() == (99, 0)


def test_the_failure_of_a_call_with_a_key_is_told_again(api: ServedApi, carol: Member, pages: FakePages) -> None:
    from apps.core.models import IdempotencyKey

    pages.script(URL, PageFailure("unreachable", "net::ERR_CONNECTION_REFUSED", URL))
    first = api.post(carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="one")
    IdempotencyKey.objects.update(status=None, headers=None, body=None)

    second = api.post(carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="one")

    assert (second.status, second.body["error"]) == (502, first.body["error"])
    assert len(pages.requests) == 1


def test_a_scrape_that_an_api_process_left_behind_is_done_by_a_worker(
    api: ServedApi, carol: Member, pages: FakePages, work: Work
) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from apps.jobs.pages import services

    params = {"url": URL, "formats": ["html"], "os_type": "OS_TYPE_MACOS", "country": "us"}
    job = services.begin(workspace_id=carol.workspace.id, kind="scrape", params=params, sync=True)
    Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))

    work({"id": str(job.id)})

    done = api.get(carol, f"/v1/jobs/{job.id}").body
    assert (done["status"], done["result"]["html"]) == ("completed", f"<h1>{URL}</h1>")
    assert carol.credits() == (99, 0)


def test_a_call_whose_job_was_taken_over_is_told_the_workers_result_when_it_repeats(
    api: ServedApi, carol: Member, pages: FakePages, work: Work, short_leases: None
) -> None:
    gate = pages.hold(URL)
    with ThreadPoolExecutor(1) as thread:
        call = thread.submit(api.post, carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="one")
        pages.await_loading(1)
        job = Job.objects.get()
        claimed(job, at=after_the_lease())
        overtaken = call.result()
    assert (overtaken.status, overtaken.code) == (409, "CONFLICT")
    assert api.post(carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="one").code == "IDEMPOTENCY_IN_PROGRESS"

    gate.set()
    Job.objects.update(lease_until=now())  # of the one that took over
    work({"id": str(job.id)})

    reply = api.post(carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="one")
    assert (reply.status, reply.body["html"]) == (200, f"<h1>{URL}</h1>")
    assert carol.credits() == (99, 0)


def test_auto_scrapes_what_is_a_plain_fetch(api: ServedApi, carol: Member, pages: FakePages) -> None:
    reply = api.post(carol, "/v1/auto", {"task": f"Go to {URL} and return the h1 text.", "llm": "gpt-4.1-mini"})

    assert reply.status == 200
    assert reply.body["routed_via"] == "scrape"
    assert "go to" in reply.body["routing_reason"]
    assert (reply.body["html"], reply.body["text"]) == (f"<h1>{URL}</h1>", f"Text of {URL}")
    assert carol.credits() == (99, 0)


def test_auto_gives_an_agent_what_is_interactive(api: ServedApi, carol: Member, pages: FakePages) -> None:
    task = {"task": f"Go to {URL} and click the button", "llm_api_key": "sk-1", "max_steps": 7}

    reply = api.post(carol, "/v1/auto", task)

    assert (reply.status, reply.body["kind"], reply.body["routed_via"]) == (202, "task", "task")
    assert "click" in reply.body["routing_reason"]
    assert (reply.body["progress_total"], reply.body["job_id"]) == (7, reply.body["id"])
    assert not pages.requests
    assert carol.credits() == (100, 3)


def test_auto_without_a_key_gives_no_task(api: ServedApi, carol: Member, pages: FakePages) -> None:
    reply = api.post(carol, "/v1/auto", {"task": f"Go to {URL} and click the button"})

    assert (reply.status, list(reply.body["fields"])) == (400, ["llm_api_key"])
    assert not Job.objects.exists()


def _over() -> Job:
    """The only job, once it is over."""
    until(lambda: Job.objects.get().completed_at is not None)
    return Job.objects.get()


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
