"""The sweep over holds past their expiry. It may run twice, or at the same time as itself and as a settlement."""

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

# A hold of work that still runs is checked again after this time.
EXTENSION = timedelta(hours=1)
_BATCH = 500


@dataclass(frozen=True, slots=True)
class SweepResult:
    released: int = 0
    extended: int = 0


def release_expired(*, now: datetime | None = None) -> SweepResult:
    """Releases open holds past their expiry without a charge; extends those whose work still runs."""
    now = now or timezone.now()
    released = extended = 0
    for workspace_id, reference in selectors.expired_holds(now=now, limit=_BATCH):
        work_state = _check_hold(workspace_id, reference, now)
        released += work_state in (WorkState.ENDED, WorkState.UNKNOWN)
        extended += work_state is WorkState.RUNNING
    return SweepResult(released=released, extended=extended)


@transaction.atomic
def _check_hold(workspace_id: uuid.UUID, reference: str, now: datetime) -> WorkState | None:
    """Returns None when the hold was settled or extended in the meantime.

    The account's lock prevents a concurrent settlement. Work ends and settles its hold in one transaction, so an open
    hold of ended work is a bug.
    """
    account, held = lock_with_hold(workspace_id=workspace_id, reference=reference)
    if held is None or held.status != Hold.Status.OPEN or held.expires_at >= now:
        return None
    work_state = hold_owners.work_state(reference)
    if work_state is WorkState.RUNNING:
        Hold.objects.filter(id=held.id, status=Hold.Status.OPEN).update(expires_at=now + EXTENSION)
        return work_state
    log.error(
        "a hold outlived its work and is released without a charge",
        extra={
            "workspace": str(workspace_id),
            "reference": reference,
            "credits": held.amount,
            "work_state": work_state.value,
            "held_since": held.created_at.isoformat(),
        },
    )
    settle_locked(account, held, used=0, description="Released: the work ended without settling")
    return work_state
