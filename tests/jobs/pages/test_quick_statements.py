"""What a synchronous scrape asks of the database: its latency is a promise, and each statement is a part of it."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.agents import page_client
from apps.jobs.pages import sync_execution
from tests.cast import Member
from tests.fakes.runner import FakeRunner
from tests.patience import PATIENCE

pytestmark = pytest.mark.django_db

PARAMS = {"url": "http://site.test/", "formats": ["html"], "os_type": "OS_TYPE_MACOS", "country": "us"}

# Before the page: the price, the account's lock, the hold, its entry in the ledger, the job with its events. After it:
# the agent, the job's lock and end, the account's lock and the hold's settlement with its entry.
MOST_STATEMENTS = 15


@pytest.mark.parametrize("prepared", [True, False])
def test_statements_of_a_synchronous_scrape(
    alice: Member, runner: FakeRunner, prepared: bool, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_execution, "UNWATCHED_SECONDS", PATIENCE)  # a page that takes longer costs heartbeats
    settings.PREPARED_STATEMENTS = prepared
    scrape(alice)  # prepares them
    with CaptureQueriesContext(connection) as captured:
        body = scrape(alice)

    statements = [query["sql"] for query in captured.captured_queries if "SAVEPOINT" not in query["sql"]]
    assert body["http_status"] == 200
    assert len(statements) <= MOST_STATEMENTS, "\n".join(statement[:120] for statement in statements)


@async_to_sync
async def _read(workspace_id: Any) -> dict[str, Any]:
    try:
        return await sync_execution.read_page(workspace_id=workspace_id, kind="scrape", params=PARAMS)
    finally:
        await page_client.close()


def scrape(member: Member) -> dict[str, Any]:
    return _read(member.workspace.id)
