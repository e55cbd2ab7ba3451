"""Ends agents from periodic tasks and runner reports. Each sweep may run twice, or concurrently."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import get_args

from django.conf import settings
from django.utils import timezone

from apps.agents import selectors
from apps.agents.control_client import RunnerClient
from apps.agents.services import termination
from apps.core import ticks
from apps.core.errors import UpstreamTimeout
from apps.core.times import from_unix
from runner.wire import HARNESS_LEASE_PREFIX, EndReason, RunnerReport

# The runner ends a browser at its deadline and reports it. Without a report, beat ends the agent after this time.
EXPIRY_GRACE = timedelta(seconds=5)
# A lease request takes little longer than LEASE_WAIT_SECONDS. The process of an older queued agent has crashed.
STUCK_AFTER = timedelta(seconds=2 * settings.LEASE_WAIT_SECONDS)
# The tick that asks the runner for its leases. Its last success proves that the runner was alive.
RECONCILIATION = "agents.reconcile_runner"
# The list of leases may be older than an agent that has just started.
SETTLING_TIME = timedelta(seconds=10)

_REASONS = get_args(EndReason)
_LATEST = 2**36  # far later than any date in use


def expire(*, boots: Callable[[], Mapping[str, str]], now: datetime | None = None) -> int:
    """Ends running agents past their deadline. Returns how many. `boots`: the boot id of each runner that answers.

    If an agent's runner has the boot id that it had at the lease, the agent ran until the deadline and is billed until
    then. If the runner restarted or does not answer, the agent crashed, and is billed until the runner was last known
    to be alive.
    """
    due = selectors.expired(before=(now or timezone.now()) - EXPIRY_GRACE)
    current = boots() if due else {}
    ended = 0
    for agent in due:
        if agent.expires_at:
            if agent.boot_id and current.get(agent.runner_id) == agent.boot_id:
                ended += termination.end(agent=agent, reason="expired", at=agent.expires_at)
            else:
                ended += termination.end(agent=agent, reason="crashed", at=min(agent.expires_at, _last_known_alive()))
    return ended


def _last_known_alive() -> datetime:
    """The last time at which the runner is known to have worked. Later time is not billed after a crash."""
    return ticks.last_finished(RECONCILIATION) or datetime.min.replace(tzinfo=UTC)


def settle_stuck(*, runner: RunnerClient, now: datetime | None = None) -> int:
    """Fails queued agents whose process crashed during provisioning. Returns how many."""
    settled = 0
    error = UpstreamTimeout("The agent was not provisioned in time.")
    for agent in selectors.stuck(before=(now or timezone.now()) - STUCK_AFTER):
        if termination.fail(agent=agent, error_code=error.code, error_message=error.message):
            settled += 1
            termination.release_quietly(agent_id=agent.id, runner=runner)
    return settled


def reconcile_runner(*, runner: RunnerClient, now: datetime | None = None) -> None:
    """Releases leases without a live agent, and ends agents without a lease. Raises UpstreamUnavailable."""
    now = now or timezone.now()
    status = runner.status()
    leases = {lease_id for lease_id in runner.leases() if not lease_id.startswith(HARNESS_LEASE_PREFIX)}
    for lease_id in sorted(leases - selectors.live_among(agent_ids=leases)):
        termination.release_quietly(agent_id=lease_id, runner=runner)
    for agent in selectors.running_on(runner_id=status.runner_id):
        # Compare with <, not !=: the runner may have restarted after it answered.
        forgotten = agent.id not in leases and agent.started_at and agent.started_at < now - SETTLING_TIME
        if agent.boot_id < status.boot_id:
            termination.end(agent=agent, reason="crashed", at=_last_known_alive())
        elif forgotten:
            termination.end(agent=agent, reason="crashed", at=now)


def parse_report(raw: bytes) -> RunnerReport | None:
    """None if `raw` is not a valid report. Checks the type of each value."""
    try:
        report = RunnerReport.from_json(raw)
    except (ValueError, RecursionError):
        return None
    texts = [report.runner_id, report.boot_id, *(ended.lease_id for ended in report.ended)]
    if not all(isinstance(text, str) and "\x00" not in text and text.isprintable() for text in texts):
        return None
    for ended in report.ended:
        at = ended.ended_at
        if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at < _LATEST:
            return None
        if ended.reason not in _REASONS:
            return None
    return report


def apply_report(*, report: RunnerReport) -> None:
    """Ends the agents whose leases have ended, and all agents of earlier boots of the runner.

    A report may arrive twice, or after a later boot has granted new leases. Leases without an agent are ignored.
    """
    reported = {ended.lease_id: ended for ended in report.ended}
    for agent in selectors.running_among(agent_ids=set(reported)):
        ended = reported[agent.id]
        termination.end(agent=agent, reason=ended.reason, at=from_unix(ended.ended_at))
    for agent in selectors.running_on(runner_id=report.runner_id):
        if agent.boot_id < report.boot_id:
            termination.end(agent=agent, reason="crashed", at=_last_known_alive())
