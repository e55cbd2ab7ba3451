"""What beat does so that no agent is forgotten. Every sweep may run twice, or beside itself, without harm."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import get_args

from django.conf import settings
from django.utils import timezone

from apps.agents import selectors
from apps.agents.control_client import RunnerClient
from apps.agents.services import termination
from apps.core import ticks
from apps.core.errors import ApiError, UpstreamTimeout
from apps.core.times import from_unix
from runner.wire import EndReason, RunnerReport

# The runner ends a browser at its deadline itself and reports it; after this long beat does the books without it.
EXPIRY_GRACE = timedelta(seconds=5)
# A lease takes little longer than the wait for a browser; whoever was making an older one is gone.
STUCK_AFTER = timedelta(seconds=2 * settings.LEASE_WAIT_SECONDS)
# The tick that asks the runner for its leases: as long as it finishes, the runner lives.
RECONCILIATION = "agents.reconcile_runner"
# An agent that started just now may be missing from a list of leases that was made before it.
SETTLING_TIME = timedelta(seconds=10)

_REASONS = get_args(EndReason)
_LATEST = 2**36  # far beyond any date that can be stored


def expire(*, find_runner: Callable[[], RunnerClient], now: datetime | None = None) -> int:
    """Ends running agents past their time, billed until then. Returns how many.

    A runner that works has reported them by now. Those of one that is gone, or was reborn, did not live until then:
    they crashed.
    """
    due = selectors.expired(before=(now or timezone.now()) - EXPIRY_GRACE)
    if not due:
        return 0
    try:
        status = find_runner().status()
        boot = status.runner_id, status.boot_id
    except ApiError:  # a runner that can't be asked must not keep the books open
        boot = None
    ended = 0
    for agent in due:
        if agent.expires_at:
            if boot == (agent.runner_id, agent.boot_id):
                ended += termination.end(agent=agent, reason="expired", at=agent.expires_at)
            else:
                ended += termination.end(agent=agent, reason="crashed", at=min(agent.expires_at, _last_known_alive()))
    return ended


def _last_known_alive() -> datetime:
    """Until when what crashed with its runner is sure to have run. How long nobody noticed isn't charged for."""
    return ticks.last_finished(RECONCILIATION) or datetime.min.replace(tzinfo=UTC)


def settle_stuck(*, runner: RunnerClient, now: datetime | None = None) -> int:
    """Fails agents whose provisioning was abandoned (its process died). Returns how many."""
    settled = 0
    error = UpstreamTimeout("The agent was not provisioned in time.")
    for agent in selectors.stuck(before=(now or timezone.now()) - STUCK_AFTER):
        if termination.fail(agent=agent, error_code=error.code, error_message=error.message):
            settled += 1
            termination.release_quietly(agent_id=agent.id, runner=runner)
    return settled


def reconcile_runner(*, runner: RunnerClient, now: datetime | None = None) -> None:
    """Makes the runner's leases and our agents agree. Raises UpstreamUnavailable when the runner is away."""
    now = now or timezone.now()
    status = runner.status()
    leases = runner.leases()
    for lease_id in sorted(leases - selectors.live_among(agent_ids=leases)):
        termination.release_quietly(agent_id=lease_id, runner=runner)
    for agent in selectors.running_on(runner_id=status.runner_id):
        # Not of another boot, only of an earlier one: a later one may have begun since the runner was asked.
        forgotten = agent.id not in leases and agent.started_at and agent.started_at < now - SETTLING_TIME
        if agent.boot_id < status.boot_id:
            termination.end(agent=agent, reason="crashed", at=_last_known_alive())
        elif forgotten:
            termination.end(agent=agent, reason="crashed", at=now)


def parse_report(raw: bytes) -> RunnerReport | None:
    """None when `raw` is no report."""
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
    """Settles what a runner says has ended, and that every earlier boot of it has.

    A report may come twice, and late, when a later boot has granted leases already. Leases that are no agents of ours
    are ignored.
    """
    reported = {ended.lease_id: ended for ended in report.ended}
    for agent in selectors.running_among(agent_ids=set(reported)):
        ended = reported[agent.id]
        termination.end(agent=agent, reason=ended.reason, at=from_unix(ended.ended_at))
    for agent in selectors.running_on(runner_id=report.runner_id):
        if agent.boot_id < report.boot_id:
            termination.end(agent=agent, reason="crashed", at=_last_known_alive())
