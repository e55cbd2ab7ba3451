"""The sweep over holds past their expiry. It may run twice, or beside itself and whoever settles, without harm."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from apps.billing import hold_owners, selectors
from apps.billing.hold_owners import Fate
from apps.billing.models import Hold
from apps.billing.services.holds import lock_with_hold, settle_locked

log = logging.getLogger(__name__)

# Work that outlives its hold's expiry is asked for again after so long.
EXTENSION = timedelta(hours=1)
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Swept:
    released: int = 0
    extended: int = 0


def release_expired(*, now: datetime | None = None) -> Swept:
    """Releases open holds past their expiry, uncharged, unless their work is still alive: those get more time."""
    now = now or timezone.now()
    released = extended = 0
    for workspace_id, reference in selectors.expired_holds(now=now, limit=_AT_ONCE):
        fate = _look_into(workspace_id, reference, now)
        released += fate in (Fate.OVER, Fate.UNKNOWN)
        extended += fate is Fate.ALIVE
    return Swept(released=released, extended=extended)


@transaction.atomic
def _look_into(workspace_id: uuid.UUID, reference: str, now: datetime) -> Fate | None:
    """None when somebody was faster.

    Under the account's lock nobody settles. Whoever ends work settles in the same transaction, so work that is seen
    to be over while its hold is open was ended by somebody who forgot the money: a bug of ours.
    """
    account, held = lock_with_hold(workspace_id=workspace_id, reference=reference)
    if held is None or held.status != Hold.Status.OPEN or held.expires_at >= now:
        return None
    fate = hold_owners.fate(reference)
    if fate is Fate.ALIVE:
        Hold.objects.filter(id=held.id, status=Hold.Status.OPEN).update(expires_at=now + EXTENSION)
        return fate
    log.error(
        "a hold outlived its work and is released uncharged",
        extra={
            "workspace": str(workspace_id),
            "reference": reference,
            "credits": held.amount,
            "fate": fate.value,
            "held_since": held.created_at.isoformat(),
        },
    )
    settle_locked(account, held, used=0, description="Released: its work ended without a bill")
    return fate
