"""POST /v1/auto: which requests become a scrape, and which a task."""

from __future__ import annotations

import pytest

from apps.jobs.models import Job
from tests.cast import Member
from tests.fakes.pages import FakePages
from tests.fakes.served import ServedApi

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("books_add_up")]

URL = "http://site.test/"


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
