"""The files that an agent's browser has downloaded, for its owner only."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from apps.agents.downloads import file_name, pick
from apps.core.errors import Conflict, NotFound
from runner.wire import Download, DownloadState
from tests.cast import Member, join
from tests.fakes.runner import FakeRunner
from tests.fakes.served import ServedApi

pytestmark = pytest.mark.django_db(transaction=True)

_numbers = itertools.count()
NAMES = ["report.pdf", "ünïcode 嗨.txt", 'a"b;c\\d.txt', "two\nlines.txt", "x" * 255, "a%2Fb", "q?x#y", "..."]


def download(name: str, state: DownloadState = "completed") -> Download:
    number = next(_numbers)
    return Download(f"{number:08x}-0000-4000-8000-000000000000", name, "https://x.test/f", 4, state, 1_700_000_000.5)


@pytest.fixture(scope="module")
def api(django_db_setup: None) -> Iterator[ServedApi]:
    with ServedApi() as api:
        yield api


@pytest.fixture
def carol(transactional_db: None) -> Member:
    return join("carol")


def agent_with(member: Member, runner: FakeRunner, *downloads: Download) -> str:
    agent_id: str = member.burner()["id"]
    runner.downloads[agent_id] = [(one, b"loot" if one.state == "completed" else None) for one in downloads]
    return agent_id


def test_they_are_listed_newest_first(api: ServedApi, carol: Member, runner: FakeRunner) -> None:
    newest, older = download("b.txt", "in_progress"), download("a.txt")
    agent_id = agent_with(carol, runner, newest, older)

    reply = api.get(carol, f"/v1/agents/{agent_id}/downloads")

    assert reply.status == 200
    assert [one["name"] for one in reply.body["downloads"]] == ["b.txt", "a.txt"]
    assert reply.body["downloads"][1] == {
        "id": older.id,
        "name": "a.txt",
        "size": 4,
        "state": "completed",
        "url": "https://x.test/f",
        "created_at": "2023-11-14T22:13:20Z",
    }


def test_an_agent_that_downloaded_nothing_has_an_empty_list(api: ServedApi, carol: Member, runner: FakeRunner) -> None:
    agent_id = agent_with(carol, runner)

    assert api.get(carol, f"/v1/agents/{agent_id}/downloads").body == {"downloads": []}
    assert api.get(carol, f"/v1/agents/{agent_id}/downloads/x").code == "NOT_FOUND"


@pytest.mark.parametrize("path", ["downloads", "downloads/a.txt"])
def test_they_are_the_owners_and_gone_with_the_agent(
    api: ServedApi, carol: Member, runner: FakeRunner, path: str
) -> None:
    agent_id = agent_with(carol, runner, download("a.txt"))
    other = join("mallory")

    assert api.get(other, f"/v1/agents/{agent_id}/{path}").code == "NOT_FOUND"
    assert api.get(carol, f"/v1/agents/agt_1/{path}").code == "INVALID_ID"
    runner.leases.pop(agent_id)  # the browser ends, and its report has not arrived
    assert api.get(carol, f"/v1/agents/{agent_id}/{path}").code == "AGENT_NOT_RUNNING"
    carol.delete(f"/v1/agents/{agent_id}")
    assert api.get(carol, f"/v1/agents/{agent_id}/{path}").code == "AGENT_NOT_RUNNING"


def test_a_file_that_is_not_complete_or_gone_is_no_file(api: ServedApi, carol: Member, runner: FakeRunner) -> None:
    gone = download("gone.txt")
    agent_id = agent_with(carol, runner, gone, download("half.txt", "in_progress"))
    runner.downloads[agent_id][0] = (gone, None)

    assert api.get(carol, f"/v1/agents/{agent_id}/downloads/half.txt").code == "CONFLICT"
    assert api.get(carol, f"/v1/agents/{agent_id}/downloads/gone.txt").code == "NOT_FOUND"


@pytest.mark.parametrize("by", ["name", "id"])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_fetched_by_its_name_or_id(
    api: ServedApi, carol: Member, runner: FakeRunner, name: str, by: str
) -> None:
    one = download(name)
    agent_id = agent_with(carol, runner, one)
    part = one.id if by == "id" else quote(name, safe="")

    reply = api.get(carol, f"/v1/agents/{agent_id}/downloads/{part}")

    assert (reply.status, reply.content) == (200, b"loot")
    assert reply.headers["Content-Length"] == "4"
    assert reply.headers["Content-Type"] == "application/octet-stream"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Content-Disposition"].startswith("attachment; filename")


def test_of_several_with_one_name_the_newest_complete_one_is_meant() -> None:
    half, newer, older = download("a", "in_progress"), download("a"), download("a")

    assert pick([half, newer, older], "a") == newer
    assert pick([half, newer, older], older.id) == older
    with pytest.raises(Conflict, match="in_progress"):
        pick([half, older], half.id)
    with pytest.raises(NotFound):
        pick([half, older], "b")


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a.txt", "a.txt"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("C:\\x\\y.exe", "C:_x_y.exe"),
        ("two\r\nlines", "two__lines"),
        ("gpj.\u202eexe", "gpj._exe"),
        ("...", "download"),
        ("", "download"),
        ("嗨 é.txt", "嗨 é.txt"),
    ],
)
def test_a_file_name_leads_nowhere(name: str, safe: str) -> None:
    assert file_name(download(name)) == safe
