"""How endpoints fare: the clock of those that only fail, and their end."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from apps.webhooks.models import Endpoint
from apps.webhooks.schedule import Failing, failed_again, is_given_up

if TYPE_CHECKING:
    from apps.webhooks.services.handing import Outcome

log = logging.getLogger(__name__)

GONE = 410
_RESOLUTION = timedelta(minutes=1)


def follow(outcomes: Sequence[Outcome]) -> None:
    """In the transaction that records them, which has stopped the clocks of those that did well; a success anywhere in
    the batch counts for more than failures beside it.
    """
    well = {outcome.delivery.endpoint_id for outcome in outcomes if outcome.delivered}
    badly = {o.delivery.endpoint_id: o.ended_at for o in outcomes if not o.delivered}
    gone = {outcome.delivery.endpoint_id for outcome in outcomes if outcome.status_code == GONE}
    for endpoint_id in gone:
        _disable(endpoint_id, Endpoint.Reason.GONE, badly[endpoint_id])
    _count({endpoint_id: at for endpoint_id, at in badly.items() if endpoint_id not in well | gone})


def _count(failures: dict[uuid.UUID, datetime]) -> None:
    if not failures:
        return
    # Whoever else writes to the row just now counts too: a failure more or less makes no difference in five days.
    rows = Endpoint.objects.select_for_update(skip_locked=True, no_key=True).filter(id__in=list(failures))
    for endpoint in rows.only("failing_since", "last_failure_at", "status"):
        at, since, last = failures[endpoint.id], endpoint.failing_since, endpoint.last_failure_at
        if since is not None and last is not None and at - last < _RESOLUTION:
            continue
        failing = failed_again(Failing(since, last) if since and last else None, now=at)
        Endpoint.objects.filter(id=endpoint.id).update(failing_since=failing.since, last_failure_at=failing.last)
        if is_given_up(failing):
            _disable(endpoint.id, Endpoint.Reason.FAILING, at)


def _disable(endpoint_id: uuid.UUID, reason: Endpoint.Reason, at: datetime) -> None:
    active = Endpoint.objects.filter(id=endpoint_id, status=Endpoint.Status.ACTIVE)
    if active.update(status=Endpoint.Status.DISABLED, disabled_reason=reason, disabled_at=at, notified_at=None):
        log.warning("a webhook was disabled", extra={"endpoint_id": endpoint_id, "reason": str(reason)})
