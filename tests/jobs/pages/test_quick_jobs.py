"""The jobs behind quick calls: asynchronous calls, cancellation, repeats with a key, takeover by another process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from apps.core.models import IdempotencyKey
from apps.jobs.models import Job, JobPage
from apps.jobs.pages import services
from runner.wire import PageFailure
from tests.cast import Member
from tests.fakes.pages import FakePages
from tests.fakes.served import ServedApi
from tests.jobs.conftest import Work
from tests.jobs.making import after_the_claim, claimed, now
from tests.patience import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("books_add_up")]

URL = "http://site.test/"


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
    first = api.post(carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="one")
    # As if the process had died between the end of the job and the answer.
    IdempotencyKey.objects.update(status=None, headers=None, body=None)

    second = api.post(carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="one")

    assert (second.status, second.content) == (200, first.content)
    assert second.headers["Idempotent-Replay"] == "true"
    assert len(pages.requests) == 1
    assert carol.credits() == (99, 0)


def test_the_failure_of_a_call_with_a_key_is_told_again(api: ServedApi, carol: Member, pages: FakePages) -> None:
    pages.script(URL, PageFailure("unreachable", "net::ERR_CONNECTION_REFUSED", URL))
    first = api.post(carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="one")
    IdempotencyKey.objects.update(status=None, headers=None, body=None)

    second = api.post(carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="one")

    assert (second.status, second.body["error"]) == (502, first.body["error"])
    assert len(pages.requests) == 1


def test_a_scrape_that_an_api_process_left_behind_is_done_by_a_worker(
    api: ServedApi, carol: Member, pages: FakePages, work: Work
) -> None:
    params = {"url": URL, "formats": ["html"], "os_type": "OS_TYPE_MACOS", "country": "us"}
    job = services.begin(workspace_id=carol.workspace.id, kind="scrape", params=params, sync=True)
    Job.objects.update(claim_until=now() - timedelta(seconds=1))

    work({"id": str(job.id)})

    done = api.get(carol, f"/v1/jobs/{job.id}").body
    assert (done["status"], done["result"]["html"]) == ("completed", f"<h1>{URL}</h1>")
    assert carol.credits() == (99, 0)


def test_a_call_whose_job_was_taken_over_is_told_the_workers_result_when_it_repeats(
    api: ServedApi, carol: Member, pages: FakePages, work: Work, short_claims: None
) -> None:
    gate = pages.hold(URL)
    with ThreadPoolExecutor(1) as thread:
        call = thread.submit(api.post, carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="one")
        pages.await_loading(1)
        job = Job.objects.get()
        claimed(job, at=after_the_claim())
        overtaken = call.result()
    assert (overtaken.status, overtaken.code) == (409, "CONFLICT")
    assert api.post(carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="one").code == "IDEMPOTENCY_IN_PROGRESS"

    gate.set()
    Job.objects.update(claim_until=now())  # of the one that took over
    work({"id": str(job.id)})

    reply = api.post(carol, "/v1/quick/scrape", {"url": URL}, Idempotency_Key="one")
    assert (reply.status, reply.body["html"]) == (200, f"<h1>{URL}</h1>")
    assert carol.credits() == (99, 0)


def _over() -> Job:
    """The only job, once it is over."""
    until(lambda: Job.objects.get().completed_at is not None)
    return Job.objects.get()
