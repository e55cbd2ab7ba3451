"""A burner from its provisioning to its end, over HTTP and CDP, and what the books say of it."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from datetime import datetime
from typing import Any

import pytest
from playwright.async_api import async_playwright
from websockets.exceptions import ConnectionClosed, InvalidStatus

from stack.harness import Stack
from tests.fakes.site import Site
from tests.integration.conftest import LEASE_WAIT
from tests.integration.driving import (
    Database,
    Member,
    adds_up,
    attach,
    chromium_of,
    chromiums,
    command,
    leases,
    navigate,
    verify_ledger,
    visit,
)
from tests.patience import PATIENCE, keeps_to, until

pytestmark = pytest.mark.integration

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def test_the_answer_has_every_field_of_the_contract(member: Member, stack: Stack, site: Site) -> None:
    answer = member.post("/v1/agents", {"ttl": "10m", "initial_url": site.url("/hello"), "persona": "a shopper"})

    assert answer.status_code == 201
    assert answer.headers["Content-Type"] == "application/json"
    agent = answer.json()
    capability, page = agent["cdp_http"].rpartition("/")[2], agent["cdp_url"].rpartition("/")[2]
    host = f"127.0.0.1:{stack.port + 1}"
    assert agent == {
        "id": agent["id"],
        "status": "running",
        "mode": "burner",
        "cdp_url": f"ws://{host}/api/v1/cdp/{capability}/ws/page/{page}",
        "cdp_http": f"http://{host}/api/v1/cdp/{capability}",
        "live_url": agent["live_url"],
        "profile_id": agent["id"].replace("agt_", "prf_"),
        "initial_url": site.url("/hello"),
        "country": "us",
        "os_type": "OS_TYPE_MACOS",
        "persona": "a shopper",
        "warmup_recipe": None,
        "created_at": agent["created_at"],
        "expires_at": agent["expires_at"],
        "destroyed_at": None,
        "trust_score": agent["trust_score"],
        "cost_credits": 1,
        "warnings": [],
        "error_code": None,
        "error_message": None,
    }
    assert re.fullmatch(r"agt_[0-9a-f]{20}", agent["id"])
    assert re.fullmatch(r"r1-[0-9a-f]{32,}", capability)
    assert re.fullmatch(r"[0-9A-F]{32}", page)
    assert re.fullmatch(re.escape(f"{stack.api_url}/live/") + r"r1-[0-9a-f]{48}", agent["live_url"])
    assert TIME.fullmatch(agent["created_at"]) and TIME.fullmatch(agent["expires_at"])
    assert 599 <= seconds_between(agent["created_at"], agent["expires_at"]) <= 602 + LEASE_WAIT
    assert member.agent(agent["id"]) == agent
    member.delete(f"/v1/agents/{agent['id']}")


def test_a_download_reaches_its_owner(member: Member, outsider: Member, site: Site) -> None:
    agent = member.burner()
    path = f"/v1/agents/{agent['id']}/downloads"
    with attach(agent["cdp_url"]) as cdp:
        command(cdp, "Page.navigate", url=site.url("/download"))

    def complete() -> list[dict[str, Any]]:
        downloads: list[dict[str, Any]] = member.get(path).json()["downloads"]
        return [one for one in downloads if one["state"] == "completed"]

    (only,) = until(complete, what="the download")

    assert (only["name"], only["url"], only["size"]) == ("loot.bin", site.url("/download"), 256)
    for name in ("loot.bin", only["id"]):
        answer = member.get(f"{path}/{name}")
        assert (answer.status_code, answer.content) == (200, b"loot" * 64)
        assert answer.headers["Content-Disposition"] == 'attachment; filename="loot.bin"'
    assert outsider.get(path).status_code == outsider.get(f"{path}/loot.bin").status_code == 404
    member.delete(f"/v1/agents/{agent['id']}")
    assert member.get(path).json()["code"] == member.get(f"{path}/loot.bin").json()["code"] == "AGENT_NOT_RUNNING"


def test_a_life_in_full(member: Member, outsider: Member, stack: Stack, site: Site, database: Database) -> None:
    first = member.burner(initial_url=site.url("/hello"), country="de", os_type="OS_TYPE_WINDOWS")
    second = member.burner()
    path = f"/v1/agents/{first['id']}"

    listed = member.get("/v1/agents").json()
    assert [agent["id"] for agent in listed["agents"]] == [second["id"], first["id"]]
    assert listed["agents"][1] == member.agent(first["id"]) == first
    assert member.get("/v1/agents?mode=persistent").json()["agents"] == []
    assert outsider.get("/v1/agents").json()["agents"] == []
    parts = ("", "/cdp", "/trust", "/fingerprint")
    for refused in (*(outsider.get(path + part) for part in parts), outsider.delete(path)):
        assert (refused.status_code, refused.json()["code"]) == (404, "NOT_FOUND")
    cdp = member.get(path + "/cdp")
    assert cdp.status_code == 200
    assert cdp.json() == {name: first[name] for name in ("cdp_url", "cdp_http", "profile_id", "expires_at")}
    assert leases(stack) >= {first["id"], second["id"]}
    assert member.credits() == (100, 3)

    for _ in range(2):
        gone = member.delete(path)
        assert (gone.status_code, gone.content) == (204, b"")
    member.delete(f"/v1/agents/{second['id']}")

    after = member.agent(first["id"])
    gone = dict.fromkeys(("cdp_url", "cdp_http", "live_url"))
    assert after == {**first, **gone, "status": "destroyed", "destroyed_at": after["destroyed_at"]}
    assert TIME.fullmatch(after["destroyed_at"])
    not_running = member.get(path + "/cdp")
    assert (not_running.status_code, not_running.json()["code"]) == (409, "AGENT_NOT_RUNNING")
    until(lambda: not leases(stack) & {first["id"], second["id"]}, what="the end of the leases")
    assert visit(first["cdp_http"] + "/json/version").status_code == 404
    with pytest.raises(InvalidStatus) as refusal, attach(first["cdp_url"]):
        pass
    assert refusal.value.response.status_code == 404  # before the upgrade
    the_books_of(member, first, second, database, after["destroyed_at"])


def the_books_of(
    member: Member, first: dict[str, Any], second: dict[str, Any], database: Database, destroyed_at: str
) -> None:
    ledger = member.ledger()
    lines = [(line["kind"], line["amount"], line["balance_after"], line["held_after"]) for line in ledger]
    assert lines == [
        ("grant", 100, 100, 0),
        ("hold", 0, 100, 2),  # ten minutes and a foreign country
        ("hold", 0, 100, 3),
        ("capture", -2, 98, 1),
        ("capture", -1, 97, 0),
    ]
    assert [line["agent_id"] for line in ledger] == [None, first["id"], second["id"], first["id"], second["id"]]
    assert adds_up(ledger) == member.credits() == (97, 0)
    (provisioned, destroyed) = database.events(first["id"])
    assert provisioned == (
        "agent.provisioned",
        {
            "agent_id": first["id"],
            "mode": "burner",
            "profile_id": first["profile_id"],
            "trust_score": first["trust_score"],
            "expires_at": first["expires_at"],
            "cost_credits": 2,
            "cdp_url": first["cdp_url"],
            "live_url": first["live_url"],
        },
    )
    ended = {"agent_id": first["id"], "mode": "burner", "destroyed_at": destroyed_at, "reason": "deleted"}
    assert destroyed == ("agent.destroyed", ended)


def test_what_was_held_and_not_used_is_released(member: Member) -> None:
    agent = member.burner(ttl="1h")
    assert member.credits() == (100, 6)

    member.delete(f"/v1/agents/{agent['id']}")

    assert member.kinds(agent["id"]) == [("hold", 0), ("capture", -1), ("release", 0)]
    assert [line["held_change"] for line in member.ledger()] == [0, 6, -1, -5]
    assert adds_up(member.ledger()) == member.credits() == (99, 0)
    assert member.agent(agent["id"])["cost_credits"] == 1


async def test_playwright_finds_the_first_page_loaded(member: Member, site: Site) -> None:
    agent = member.burner(initial_url=site.url("/hello"))

    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(agent["cdp_url"], timeout=PATIENCE * 1000)
        (page,) = browser.contexts[0].pages
        page.set_default_timeout(PATIENCE * 1000)
        await page.wait_for_url(site.url("/hello"))
        assert await page.title() == "Hello"
        await page.goto(site.url("/portrait"))
        assert await page.evaluate("navigator.platform") == "MacIntel"
        await browser.close()  # for a CDP connection that means: hang up

    assert member.agent(agent["id"])["status"] == "running"
    member.delete(f"/v1/agents/{agent['id']}")


def test_a_raw_client_drives_it_and_leaving_does_not_end_it(member: Member, site: Site) -> None:
    agent = member.burner()

    for path in ("/hello", "/portrait"):
        with attach(agent["cdp_url"]) as cdp:
            navigate(cdp, site.url(path))
    with attach(agent["cdp_url"]) as cdp, attach(agent["cdp_url"]) as other:
        for client in (cdp, other):
            result = command(client, "Runtime.evaluate", expression="location.href")
            assert result["result"]["value"] == site.url("/portrait")

    assert member.agent(agent["id"])["status"] == "running"
    version = visit(agent["cdp_http"] + "/json/version").json()
    assert version["webSocketDebuggerUrl"].startswith(agent["cdp_url"].partition("/ws/")[0] + "/ws/browser/")
    member.delete(f"/v1/agents/{agent['id']}")


def test_browser_close_ends_it_and_it_is_charged(member: Member, stack: Stack, database: Database) -> None:
    agent = member.burner()

    with attach(agent["cdp_url"]) as cdp:
        command(cdp, "Browser.close")

    assert member.ended(agent["id"])["status"] == "destroyed"
    assert database.reason(agent["id"]) == "closed"
    assert database.events(agent["id"])[-1][1]["reason"] == "closed"
    assert member.kinds(agent["id"]) == [("hold", 0), ("capture", -1)]
    assert member.credits() == (99, 0)


def test_a_crash_is_told_within_two_seconds_and_costs_nothing(member: Member, stack: Stack, database: Database) -> None:
    """By the clock of the books: how long we take to hear of it is our own affair."""

    def crash() -> float:
        agent = member.burner()
        pid = chromium_of(stack, agent)

        with attach(agent["cdp_url"]) as cdp:
            command(cdp, "Target.getTargets")
            os.kill(pid, signal.SIGKILL)
            killed = time.time()
            with pytest.raises(ConnectionClosed):
                while True:
                    cdp.recv(timeout=PATIENCE)
        after = member.ended(agent["id"])

        assert (after["status"], after["cost_credits"]) == ("destroyed", 0)
        assert database.reason(agent["id"]) == "crashed"
        assert member.kinds(agent["id"]) == [("hold", 0), ("release", 0)]
        assert adds_up(member.ledger()) == member.credits() == (100, 0)
        assert pid not in chromiums(stack)
        assert database.events(agent["id"])[-1][0] == "agent.destroyed"
        return database.told_at(agent["id"]) - killed

    keeps_to(2, crash)


def test_a_client_that_vanishes_leaves_the_browser_running(member: Member) -> None:
    agent = member.burner()
    with attach(agent["cdp_url"]) as cdp:
        command(cdp, "Page.enable")
        cdp.socket.shutdown(socket.SHUT_RDWR)  # no closing handshake

    with attach(agent["cdp_url"]) as cdp:
        assert command(cdp, "Runtime.evaluate", expression="6 * 7")["result"]["value"] == 42
    assert member.agent(agent["id"])["status"] == "running"
    member.delete(f"/v1/agents/{agent['id']}")


def test_no_browser_outlives_its_agent(member: Member, stack: Stack) -> None:
    agent = member.burner()
    pid = chromium_of(stack, agent)

    member.delete(f"/v1/agents/{agent['id']}")

    until(lambda: pid not in chromiums(stack), what="the end of its Chromium")


def test_bad_input_names_the_field_and_leases_nothing(member: Member) -> None:
    answer = member.post("/v1/agents", {"ttl": "2h"})

    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert list(answer.json()["fields"]) == ["ttl"]
    assert member.get("/v1/agents").json()["agents"] == []
    assert [line["kind"] for line in member.ledger()] == ["grant"]


def test_the_ledger_verifies_after_all_that(stack: Stack) -> None:
    verify_ledger(stack)
