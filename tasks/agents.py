"""Beat's ticks for agents."""

from __future__ import annotations

from celery import shared_task

from apps.agents.control_client import current_boots, runner_client
from apps.agents.services import harness, renewals, sweeps
from apps.core.ticks import run_tick


@shared_task(name="agents.expire")
def expire() -> None:
    run_tick("agents.expire", lambda: sweeps.expire(boots=current_boots))


@shared_task(name="agents.settle_stuck")
def settle_stuck() -> None:
    run_tick("agents.settle_stuck", lambda: sweeps.settle_stuck(runner=runner_client()))


@shared_task(name="agents.reconcile_runner")
def reconcile_runner() -> None:
    run_tick(sweeps.RECONCILIATION, lambda: sweeps.reconcile_runner(runner=runner_client()))


@shared_task(name="agents.renew")
def renew() -> None:
    run_tick("agents.renew", renewals.renew)


@shared_task(name="agents.run_harness")
def run_harness() -> None:
    run_tick("agents.run_harness", lambda: harness.run_due(runner=runner_client()))
