"""The links to a live view, and the page behind them, which needs no API key."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from django.conf import LazySettings

from apps.agents.models import Agent
from apps.core.logs import JSONFormatter
from tests.cast import Member, Reply, call
from tests.fakes.runner import FakeRunner

pytestmark = pytest.mark.django_db

UNKNOWN = "agt_" + "0" * 20
STATIC = Path(__file__).parents[2] / "apps" / "agents" / "static"


def links(member: Member) -> tuple[dict[str, str], str]:
    """The links to a new agent's live view, and its id."""
    agent_id = member.burner()["id"]
    reply = member.get(f"/v1/agents/{agent_id}/live")
    assert reply.status == 200
    body: dict[str, str] = reply.body
    return body, agent_id


BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def visit(url: str, method: str = "GET") -> Reply:
    return call(method, url.removeprefix("http://127.0.0.1:8000"), headers=BROWSER)


def text(reply: Reply) -> str:
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    return reply.content.decode()


def test_the_owner_gets_one_link_to_watch_and_another_to_steer(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner()

    reply = alice.get(f"/v1/agents/{agent['id']}/live")

    granted = runner.leases[agent["id"]]
    assert reply.status == 200
    assert reply.body == {
        "live_url": f"http://127.0.0.1:8000/live/{granted.live_view}",
        "control_url": f"http://127.0.0.1:8000/live/{granted.live_control}",
        "expires_at": agent["expires_at"],
    }
    assert granted.live_view != granted.live_control


def test_an_agent_names_the_link_to_watch_only(alice: Member, runner: FakeRunner) -> None:
    agent = alice.burner()

    granted = runner.leases[agent["id"]]
    assert agent["live_url"] == f"http://127.0.0.1:8000/live/{granted.live_view}"
    for told in (agent, alice.get("/v1/agents").body, alice.events()):
        assert granted.live_control not in json.dumps(told)
    ((kind, data),) = alice.events()
    assert (kind, data["live_url"]) == ("agent.provisioned", agent["live_url"])


def test_links_are_under_the_public_address(alice: Member, runner: FakeRunner, settings: LazySettings) -> None:
    settings.PUBLIC_URL = "https://browsa.example/api"

    body, _ = links(alice)

    assert all(body[name].startswith("https://browsa.example/api/live/r1-") for name in ("live_url", "control_url"))


def test_there_are_none_once_it_is_over_and_none_for_others(alice: Member, bob: Member, runner: FakeRunner) -> None:
    agent = alice.burner()
    path = f"/v1/agents/{agent['id']}/live"

    assert (bob.get(path).status, bob.get(path).code) == (404, "NOT_FOUND")
    assert call("GET", path).code == "UNAUTHORIZED"
    alice.delete(f"/v1/agents/{agent['id']}")
    assert (alice.get(path).status, alice.get(path).code) == (409, "AGENT_NOT_RUNNING")
    assert alice.get(f"/v1/agents/{agent['id']}").body["live_url"] is None
    assert alice.get(f"/v1/agents/{UNKNOWN}/live").code == "NOT_FOUND"
    assert alice.get("/v1/agents/nonsense/live").code == "INVALID_ID"


@pytest.mark.parametrize(("name", "mode"), [("live_url", "view"), ("control_url", "control")])
def test_the_page_knows_what_its_link_is_good_for(alice: Member, runner: FakeRunner, name: str, mode: str) -> None:
    body, agent_id = links(alice)

    page = visit(body[name])

    assert page.status == 200
    granted = runner.leases[agent_id]
    own, other = granted.live_view, granted.live_control
    if mode == "control":
        own, other = other, own
    assert f'data-mode="{mode}" data-socket="ws://127.0.0.1:8001/api/v1/live/{own}"' in text(page)
    assert other not in text(page)
    assert ("<textarea" in text(page)) == (mode == "control")


def test_the_page_sends_no_referrer_and_runs_only_its_own_script(alice: Member, runner: FakeRunner) -> None:
    body, _ = links(alice)

    for method in ("GET", "HEAD"):
        headers = visit(body["live_url"], method).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["frame-ancestors"] == "'self'"
        assert policy["connect-src"] == "'self' ws://127.0.0.1:8001"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Robots-Tag"] == "noindex, nofollow"
        assert headers["X-Frame-Options"] == "SAMEORIGIN"
        assert "Set-Cookie" not in headers
    page = text(visit(body["live_url"]))
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", page)
    for source in re.findall(r'(?:src|href)="(/[^"]+)"', page):
        assert visit(source).status == 200


def test_the_scripts_never_make_html() -> None:
    scripts = "".join(path.read_text() for path in STATIC.rglob("*.js"))

    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", scripts)


@pytest.mark.parametrize("name", ["live_url", "control_url"])
def test_the_page_of_an_agent_that_is_over_says_so(alice: Member, runner: FakeRunner, name: str) -> None:
    body, agent_id = links(alice)
    alice.delete(f"/v1/agents/{agent_id}")

    page = visit(body[name])

    assert page.status == 410
    assert "The session has ended" in text(page)
    assert "data-socket" not in text(page) and "<script" not in text(page)
    assert visit(body[name], "HEAD").status == 410


@pytest.mark.parametrize(
    "capability",
    ["r1-" + "0" * 48, "r1-" + "0" * 47 + "/", "x", "%00", "%ff", "r1-" + "0" * 5000, "'%20OR%20''='", "<b>", "a/b"],
    ids=lambda capability: capability[:12],
)
def test_an_unknown_link_is_404(alice: Member, runner: FakeRunner, capability: str) -> None:
    alice.burner()
    Agent.objects.create(**_queued(alice))  # whose capabilities are empty

    page = call("GET", f"/live/{capability}", headers=BROWSER)

    assert page.status == 404
    assert "There is no live view here" in text(page)
    assert "Content-Security-Policy" in page.headers


def _queued(member: Member) -> dict[str, object]:
    made = Agent.objects.values().get(workspace=member.workspace)
    return {**made, "id": UNKNOWN, "status": "queued", "live_view": "", "live_control": ""}


@pytest.mark.parametrize("name", ["live_url", "control_url"])
def test_no_log_line_holds_a_link(
    alice: Member, runner: FakeRunner, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    body, _ = links(alice)
    with caplog.at_level("DEBUG"):
        visit(body[name])
        visit(body[name] + "/x")
        visit(body[name].replace("/live/", "/api/v1/live/"))

    lines = [JSONFormatter().format(record) for record in caplog.records]
    capability = body[name].rpartition("/")[2]
    assert sum("/live/[redacted]" in line for line in lines) >= 3
    assert not [line for line in lines if capability in line]


def test_only_reading_is_possible(alice: Member, runner: FakeRunner) -> None:
    body, _ = links(alice)

    reply = visit(body["live_url"], "POST")

    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/live/x", 404), ("POST", "/live/x", 405), ("GET", "/docs/x", 404), ("GET", "/static/x", 404)],
)
def test_a_program_gets_the_envelope_where_a_person_gets_a_page(db: None, method: str, path: str, status: int) -> None:
    reply = call(method, path)

    assert (reply.status, set(reply.body)) == (status, {"error", "code", "request_id"})
