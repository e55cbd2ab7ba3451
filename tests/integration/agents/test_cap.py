"""Many at once: the cap holds exactly, and no credit is lost or made."""

from __future__ import annotations

from collections import Counter

import pytest

from stack.harness import Stack
from tests.integration.driving import Database, Member, adds_up, at_once, leases, pool_is_whole, verify_ledger
from tests.patience import until

pytestmark = pytest.mark.integration


def test_nine_at_once_against_a_cap_of_three(
    member: Member, outsider: Member, stack: Stack, database: Database
) -> None:
    database.change("UPDATE accounts_workspace SET max_burners = 3 WHERE id = %s", member.workspace_id)

    answers = at_once(9, lambda _: member.post("/v1/agents", {}))

    assert Counter(answer.status_code for answer in answers) == {201: 3, 429: 6}
    for refused in (answer for answer in answers if answer.status_code == 429):
        assert refused.json()["code"] == "TOO_MANY_REQUESTS"
        assert refused.headers["Retry-After"] == "30"
    agents = [answer.json() for answer in answers if answer.status_code == 201]
    ids = {agent["id"] for agent in agents}
    assert len(ids) == len({agent["cdp_http"] for agent in agents}) == 3
    assert leases(stack) >= ids
    assert Counter(line["kind"] for line in member.ledger()) == {"grant": 1, "hold": 3}
    assert adds_up(member.ledger()) == member.credits() == (100, 3)
    assert outsider.burner()["status"] == "running"  # the cap is each workspace's own

    gone = ids.pop()
    member.delete(f"/v1/agents/{gone}")
    ids.add(member.burner()["id"])
    assert member.post("/v1/agents", {}).status_code == 429

    ended = at_once(3, lambda n: member.delete(f"/v1/agents/{sorted(ids)[n]}"))
    assert {answer.status_code for answer in ended} == {204}
    assert Counter(line["kind"] for line in member.ledger()) == {"grant": 1, "hold": 4, "capture": 4}
    assert adds_up(member.ledger()) == member.credits() == (96, 0)
    until(lambda: not leases(stack) & ids, what="the end of the leases")
    verify_ledger(stack)
    until(lambda: pool_is_whole(stack), what="the end of the browsers")


def test_ending_one_from_many_sides_at_once_charges_once(member: Member) -> None:
    agent = member.burner()

    answers = at_once(12, lambda _: member.delete(f"/v1/agents/{agent['id']}"))

    assert {answer.status_code for answer in answers} == {204}
    assert member.kinds(agent["id"]) == [("hold", 0), ("capture", -1)]
