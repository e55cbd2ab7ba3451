"""Beat's ticks for billing."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from apps.billing import stripe_api
from apps.billing.services import expired_holds, reconciliation
from apps.core.ticks import run_tick


@shared_task(name="billing.release_expired_holds")
def release_expired_holds() -> None:
    run_tick("billing.release_expired_holds", expired_holds.release_expired)


@shared_task(name="billing.reconcile_checkouts")
def reconcile_checkouts() -> None:
    def work() -> None:
        if settings.STRIPE_SECRET_KEY:
            reconciliation.reconcile(find_stripe=stripe_api.configured)

    run_tick("billing.reconcile_checkouts", work)


@shared_task(name="billing.purge_unpaid_checkouts")
def purge_unpaid_checkouts() -> None:
    run_tick("billing.purge_unpaid_checkouts", reconciliation.purge_unpaid)
