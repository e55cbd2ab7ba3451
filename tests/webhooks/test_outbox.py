"""An event belongs to the transaction that causes it."""

from __future__ import annotations

import re

import pytest
from django.db import transaction

from apps.webhooks.models import OutboxEvent
from apps.webhooks.services import record_event
from tests.cast import Member, join


@pytest.mark.django_db
def test_an_event_has_an_id_of_its_own(alice: Member) -> None:
    event = record_event(workspace_id=alice.workspace.id, type="agent.failed", data={"agent_id": "x"})

    assert re.fullmatch(r"evt_[0-9a-f]{32}", event.id)


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_did_not_happen() -> None:
    alice = join("alice")

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        record_event(workspace_id=alice.workspace.id, type="agent.failed", data={})
        raise ZeroDivisionError

    assert not OutboxEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_event_without_a_transaction_is_a_bug() -> None:
    alice = join("alice")

    with pytest.raises(RuntimeError, match="transaction"):
        record_event(workspace_id=alice.workspace.id, type="agent.failed", data={})
