"""A process killed at any moment leaves a key whose repeat gets the true outcome."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from apps.accounts.models import ApiKey, Workspace
from apps.agents.control_client import runner_client
from apps.agents.models import Agent
from apps.agents.services import sweeps
from apps.billing import services as billing
from apps.billing.verification import problems
from apps.core.models import IdempotencyKey
from stack.child import ROOT
from tests.cast import Member, Reply, call, join
from tests.fakes.runner import FakeRunner

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rich() -> Member:
    """Has enough credits for one agent in each crash."""
    member = join("rich")
    Workspace.objects.filter(id=member.workspace.id).update(max_burners=1000)
    billing.grant(workspace_id=member.workspace.id, amount=1000, reference="test", description="")
    return member


def crash_everywhere(member: Member, path: str, body: str) -> int:
    """How many processes there were; all but the last died."""
    database = {
        name: connection.settings_dict[name] for name in ("NAME", "HOST", "PORT", "USER", "PASSWORD", "OPTIONS")
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.core.dying"],
        input=json.dumps({"database": database, "path": path, "body": body, "secret": member.secret}),
        env={
            **os.environ,
            "DATABASE_URL": "postgresql://none@localhost/nothing",
            "REDIS_URL": settings.REDIS_URL,
            "BROWSA_HOME": str(settings.BROWSA_HOME),
            "BROWSA_SECRET_KEY": settings.SECRET_KEY,
            "BROWSA_RUNNER_URL": settings.RUNNER_URL,
            "BROWSA_RUNNER_TOKEN": settings.RUNNER_TOKEN,
            "BROWSA_RATE_LIMITS": "off",
            "DJANGO_SETTINGS_MODULE": "browsa.settings",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    let_leases_run_out()
    return int(done.stdout)


def let_leases_run_out() -> None:
    IdempotencyKey.objects.filter(status=None).update(lease_until=timezone.now() - timedelta(seconds=1))


def repeat_all(member: Member, count: int, path: str, body: str) -> list[Reply]:
    return [
        call("POST", path, key=member.secret, content=body.encode(), headers={"Idempotency-Key": f"key-{number + 1}"})
        for number in range(count)
    ]


def test_agents(rich: Member, runner: FakeRunner) -> None:
    count = crash_everywhere(rich, "/v1/agents", "{}")
    assert Agent.objects.count() < count

    early = repeat_all(rich, count, "/v1/agents", "{}")
    sweeps.settle_stuck(runner=runner_client(), now=timezone.now() + timedelta(minutes=5))
    late = repeat_all(rich, count, "/v1/agents", "{}")
    again = repeat_all(rich, count, "/v1/agents", "{}")

    kinds = Counter(
        (first.status, "Idempotent-Replay" in first.headers, last.status)
        for first, last in zip(early, late, strict=True)
    )
    assert kinds[201, False, 201], "killed before the agent was there: the repeat made it"
    assert kinds[409, False, 504], "killed before the agent ran: in progress until the sweep had settled it"
    assert kinds[201, True, 201], "killed before the answer was kept: the repeat gets the outcome"
    assert set(kinds) == {(201, False, 201), (409, False, 504), (201, True, 201)}
    assert [reply.content for reply in again] == [reply.content for reply in late]
    assert Agent.objects.count() == count, "one for each key"
    told = {reply.body["id"] for reply in late if reply.status == 201}
    assert told == set(Agent.objects.filter(status="running").values_list("id", flat=True))
    assert rich.credits()[1] == len(told), "each that runs is held for once, the others not at all"
    assert list(problems()) == []


def test_keys(rich: Member) -> None:
    count = crash_everywhere(rich, "/v1/keys", '{"name": "ci"}')

    replies = repeat_all(rich, count, "/v1/keys", '{"name": "ci"}')

    assert {reply.status for reply in replies} == {201}
    assert ApiKey.objects.filter(name="ci").count() == count, "one for each Idempotency-Key"
    assert {call("GET", "/v1/agents", key=reply.body["secret"]).status for reply in replies} == {200}
