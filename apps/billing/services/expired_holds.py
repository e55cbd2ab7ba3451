"""The sweep over holds past their expiry. It may run twice, or beside itself and whoever settles, without harm."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from apps.billing import hold_owners, selectors
from apps.billing.hold_owners import WorkState
from apps.billing.models import Hold
from apps.billing.services.holds import lock_with_hold, settle_locked

log = logging.getLogger(__name__)

# Work that outlives its hold's expiry is asked for again after so long.
EXTENSION = timedelta(hours=1)
_BATCH = 500


@dataclass(frozen=True, slots=True)
class SweepResult:
    released: int = 0
    extended: int = 0


def release_expired(*, now: datetime | None = None) -> SweepResult:
    """Releases open holds past their expiry, uncharged, unless their work is still alive: those get more time."""
    now = now or timezone.now()
    released = extended = 0
    for workspace_id, reference in selectors.expired_holds(now=now, limit=_BATCH):
        work_state = _check_hold(workspace_id, reference, now)
        released += work_state in (WorkState.ENDED, WorkState.UNKNOWN)
        extended += work_state is WorkState.RUNNING
    return SweepResult(released=released, extended=extended)


@transaction.atomic
def _check_hold(workspace_id: uuid.UUID, reference: str, now: datetime) -> WorkState | None:
    """None when somebody was faster.

    Under the account's lock nobody settles. Whoever ends work settles in the same transaction, so work that is seen
    to be over while its hold is open was ended by somebody who forgot the money: a bug of ours.
    """
    account, held = lock_with_hold(workspace_id=workspace_id, reference=reference)
    if held is None or held.status != Hold.Status.OPEN or held.expires_at >= now:
        return None
    work_state = hold_owners.work_state(reference)
    if work_state is WorkState.RUNNING:
        Hold.objects.filter(id=held.id, status=Hold.Status.OPEN).update(expires_at=now + EXTENSION)
        return work_state
    log.error(
        "a hold outlived its work and is released uncharged",
        extra={
            "workspace": str(workspace_id),
            "reference": reference,
            "credits": held.amount,
            "work_state": work_state.value,
            "held_since": held.created_at.isoformat(),
        },
    )
    settle_locked(account, held, used=0, description="Released: its work ended without a bill")
    return work_state
