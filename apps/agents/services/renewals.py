"""Bills persistent identities by the month. The tick may run twice, or concurrently.

Lock order: the identity's row, then its workspace's credit account.
"""

from __future__ import annotations

import calendar
import logging
from datetime import datetime, timedelta
from enum import Enum

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.agents import selectors
from apps.agents.models import Agent
from apps.agents.services import termination
from apps.billing import selectors as billing_selectors
from apps.billing import services as billing
from apps.core.errors import InsufficientCredit
from apps.core.times import rfc3339
from apps.webhooks.services import record_event

log = logging.getLogger(__name__)

# The start of a month, as the reference of its ledger entry shows it.
_PERIOD = "%Y-%m-%d"


class RenewalOutcome(Enum):
    NOT_DUE = "not due"
    RENEWED = "renewed"
    UNPAID = "unpaid"
    DESTROYED = "destroyed"


def renew(*, now: datetime | None = None) -> dict[RenewalOutcome, int]:
    """Bills all months that have begun, for all running identities. Returns the number of each outcome."""
    now = now or timezone.now()
    counts = dict.fromkeys(RenewalOutcome, 0)
    for agent_id in selectors.due_for_renewal(now=now):
        while (outcome := _renew(agent_id, now)) is RenewalOutcome.RENEWED:  # several months, if beat was down
            counts[outcome] += 1
        counts[outcome] += 1
    return counts


@transaction.atomic
def _renew(agent_id: str, now: datetime) -> RenewalOutcome:
    agent = Agent.objects.select_for_update().get(id=agent_id)
    due = agent.next_renewal_at
    if agent.status != Agent.Status.RUNNING or due is None or due > now:
        return RenewalOutcome.NOT_DUE
    price = billing_selectors.price("persistent_month")
    period = due.strftime(_PERIOD)
    try:
        if price:  # a price of 0 needs no ledger entry
            billing.renew(
                workspace_id=agent.workspace_id,
                amount=price,
                reference=f"renewal:{agent.id}:{period}",
                source=billing.Source(f"Persistent identity, month from {period}", agent_id=agent.id),
            )
    except InsufficientCredit as error:
        return _unpaid(agent, error, now)
    following = next_month(agent.started_at or agent.created_at, after=due)
    _set(agent, next_renewal_at=following, renewal_failed_at=None, cost_credits=agent.cost_credits + price)
    record_event(
        workspace_id=agent.workspace_id,
        type="agent.renewed",
        data={"agent_id": agent.id, "renewal_credits": price, "next_renewal_at": rfc3339(following)},
    )
    return RenewalOutcome.RENEWED


def _unpaid(agent: Agent, error: InsufficientCredit, now: datetime) -> RenewalOutcome:
    """Reports the unpaid month once. Destroys the identity when the grace period has passed since that report."""
    grace = timedelta(days=settings.RENEWAL_GRACE_DAYS)
    since = agent.renewal_failed_at
    if since is None:
        _set(agent, renewal_failed_at=now)
        log.warning("an identity could not be renewed", extra={"agent_id": agent.id})
        record_event(
            workspace_id=agent.workspace_id,
            type="agent.renewal_failed",
            data={
                "agent_id": agent.id,
                "error_code": error.code,
                "error_message": f"{error.message}. The identity will be destroyed at {rfc3339(now + grace)}"
                " unless its month is paid before.",
            },
        )
    elif since + grace <= now:
        # If the identity has an open session, the next reconciliation releases it from the runner.
        termination.end(agent=agent, reason="renewal_failed", at=now)
        return RenewalOutcome.DESTROYED
    return RenewalOutcome.UNPAID


def _set(agent: Agent, **changes: object) -> None:
    """Updates the row, which the caller has locked, and `agent`."""
    Agent.objects.filter(id=agent.id).update(**changes)
    for name, value in changes.items():
        setattr(agent, name, value)


def month_after(anchor: datetime, count: int) -> datetime:
    """`count` months after `anchor`, on the same day or the last of the month: 31 January, 28 February, 31 March."""
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + count, 12)
    last_day = calendar.monthrange(year, month + 1)[1]
    return anchor.replace(year=year, month=month + 1, day=min(anchor.day, last_day))


def next_month(anchor: datetime, *, after: datetime) -> datetime:
    """The first start of a month later than `after`. The months are counted from `anchor`."""
    count = max((after.year - anchor.year) * 12 + after.month - anchor.month, 1)
    # `count` ignores day and time, so this month may start at or before `after`.
    while month_after(anchor, count) <= after:
        count += 1
    return month_after(anchor, count)
