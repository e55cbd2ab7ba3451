"""The period of each tick of beat. Every tick is a task of the same name and safe to run twice."""

from __future__ import annotations

from datetime import timedelta

PERIODS: dict[str, timedelta] = {
    "agents.expire": timedelta(seconds=2),
    "agents.settle_stuck": timedelta(seconds=10),
    "agents.reconcile_runner": timedelta(seconds=5),
    "agents.renew": timedelta(minutes=1),
    "agents.run_harness": timedelta(hours=1),  # each shape once a day
    "jobs.relay": timedelta(seconds=2),
    "jobs.reap": timedelta(seconds=2),
    "jobs.end_overdue": timedelta(seconds=2),
    "jobs.purge_screenshots": timedelta(minutes=10),
    "jobs.purge_expired_pages": timedelta(minutes=10),
    "billing.release_expired_holds": timedelta(minutes=1),
    "billing.reconcile_checkouts": timedelta(minutes=1),
    "billing.purge_unpaid_checkouts": timedelta(hours=1),
    "webhooks.tell_owners": timedelta(minutes=1),
    "webhooks.purge": timedelta(minutes=10),
    "core.purge_idempotency_keys": timedelta(minutes=10),
}
