"""Provisions an agent: creates it with a hold, leases a browser, records the outcome."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.agents import identity, metrics, selectors, trust
from apps.agents.control_client import RunnerClient
from apps.agents.models import Agent, AgentFingerprint
from apps.agents.services import termination, transitions
from apps.billing import selectors as billing_selectors
from apps.billing import services as billing
from apps.billing.pricing import BurnerRate, burner_maximum
from apps.core import database, idempotency
from apps.core.errors import AgentNotRunning, ApiError, TooManyRequests
from apps.core.ids import new_agent_id
from apps.core.prepared import PreparedInsert
from apps.core.times import from_unix
from fingerprints import overrides as fingerprint_overrides
from runner.wire import LeaseGranted, LeaseRequest

CAP_RETRY_SECONDS = 30
# A hold must outlast its agent. The sweeps end each agent soon after its TTL, even if its runner has crashed.
HOLD_GRACE = timedelta(minutes=30)

_INSERT_AGENT = PreparedInsert(Agent)
_INSERT_FINGERPRINT = PreparedInsert(AgentFingerprint)


@dataclass(frozen=True, slots=True)
class ProvisionRequest:
    """A validated request for an agent, with all defaults filled in."""

    ttl_seconds: int
    country: str
    os_type: str
    initial_url: str = ""
    persona: str = ""
    warmup_recipe: str = ""
    fingerprint_seed: str = ""
    overrides: dict[str, str] = field(default_factory=dict)


def provision(*, workspace_id: uuid.UUID, request: ProvisionRequest, runner: RunnerClient) -> Agent:
    """Provisions a burner, and returns it when it is running.

    Raises TooManyRequests, InsufficientCredit, UpstreamUnavailable, UpstreamTimeout, and AgentNotRunning if the agent
    was destroyed before it ran. Nothing is charged in these cases.
    """
    began = time.monotonic()
    agent = _admit(workspace_id, request)
    try:
        granted = runner.lease(lease_request(agent))
    except ApiError as error:
        termination.fail(agent=agent, error_code=error.code, error_message=error.message)
        termination.release_quietly(agent_id=agent.id, runner=runner)
        metrics.provisions.labels(error.code).observe(time.monotonic() - began)
        raise
    if not mark_running(agent, granted):
        termination.release_quietly(agent_id=agent.id, runner=runner)
        raise AgentNotRunning("The agent was destroyed before it ran.")
    metrics.provisions.labels("running").observe(time.monotonic() - began)
    return agent


@transaction.atomic
def _admit(workspace_id: uuid.UUID, request: ProvisionRequest) -> Agent:
    """Creates the queued agent and its hold, under the lock of the credit account.

    The commit does not wait for the disk: that of `mark_running` does, and the caller has no answer before that. A
    database server that dies in between leaves no agent and no hold, and the runner's lease is released as unknown.
    """
    database.commit_asynchronously()
    account = billing.lock_account(workspace_id=workspace_id)
    burners = selectors.burner_count(workspace_id=workspace_id)
    if burners.live >= burners.cap:
        raise TooManyRequests(
            f"This workspace already has {burners.cap} concurrent burners.", retry_after=CAP_RETRY_SECONDS
        )
    agent_id = new_agent_id()
    prices = billing_selectors.prices()
    surcharge = prices["country_surcharge"] if request.country != settings.DEFAULT_COUNTRY else 0
    rate = BurnerRate(per_period=prices["burner_per_10_min"], surcharge=surcharge)
    held = billing.hold_locked(
        account,
        amount=burner_maximum(rate, ttl=timedelta(seconds=request.ttl_seconds)),
        reference=f"agent:{agent_id}",
        source=billing.Source(description="Burner", agent_id=agent_id),
        expires_at=timezone.now() + timedelta(seconds=request.ttl_seconds + settings.LEASE_WAIT_SECONDS) + HOLD_GRACE,
    )
    agent = create(agent_id, workspace_id, request, rate=rate, hold_reference=held.reference, cost_credits=held.amount)
    idempotency.bind("agent", agent.id)
    return agent


def create(
    agent_id: str, workspace_id: uuid.UUID, request: ProvisionRequest, *, rate: BurnerRate, **more: Any
) -> Agent:
    """Creates the row of a queued burner. Its score is that of a browser that was not measured yet."""
    warnings = fingerprint_overrides.warnings(request.overrides, request.country)
    facts = trust.TrustFacts(proxied=identity.proxied(request.country), warnings=tuple(warnings))
    agent = Agent(
        id=agent_id,
        workspace_id=workspace_id,
        mode=Agent.Mode.BURNER,
        initial_url=request.initial_url,
        country=request.country,
        os_type=request.os_type,
        persona=request.persona,
        warmup_recipe=request.warmup_recipe,
        ttl_seconds=request.ttl_seconds,
        fingerprint_seed=request.fingerprint_seed,
        overrides=request.overrides,
        warnings=warnings,
        trust_score=trust.assess(facts).score,
        period_credits=rate.per_period,
        surcharge_credits=rate.surcharge,
        created_at=timezone.now(),
        **more,
    )
    _INSERT_AGENT.execute(agent)
    return agent


def lease_request(agent: Agent) -> LeaseRequest:
    return LeaseRequest(
        lease_id=agent.id,
        os_family=identity.FAMILIES[agent.os_type],
        country=agent.country,
        ttl_seconds=agent.ttl_seconds,
        initial_url=agent.initial_url or None,
        wait_seconds=settings.LEASE_WAIT_SECONDS,
        seed=agent.fingerprint_seed,
        overrides=agent.overrides,
    )


@transaction.atomic
def mark_running(agent: Agent, granted: LeaseGranted) -> bool:
    """Records the lease of a queued agent, with what its browser shows.

    False if its status has changed: then the caller releases the lease.
    """
    measured = trust.read_document(granted.fingerprint)
    warnings = list(dict.fromkeys([*agent.warnings, *granted.fingerprint.get("warnings", ())]))
    signal = selectors.detection_signal(agent.os_type, agent.country)
    facts = trust.TrustFacts(
        persistent=agent.mode == Agent.Mode.PERSISTENT,
        pass_rate=signal and signal.pass_rate,
        proxied=identity.proxied(agent.country),
        contradictions=measured.contradictions,
        software_graphics=measured.software_graphics,
        warnings=tuple(warnings),
    )
    trusted = trust.assess(facts)
    moved = transitions.move(
        agent,
        to="running",
        fingerprint_seed=granted.seed or agent.fingerprint_seed,
        warnings=warnings,
        trust_score=trusted.score,
        runner_id=granted.runner_id,
        boot_id=granted.boot_id,
        profile=granted.profile,
        page_id=granted.page_id,
        live_view=granted.live_view,
        live_control=granted.live_control,
        started_at=from_unix(granted.leased_at),
        expires_at=from_unix(granted.expires_at),
    )
    if moved:
        _INSERT_FINGERPRINT.execute(
            AgentFingerprint(
                agent=agent,
                document=granted.fingerprint,
                trust_inputs=[one.to_dict() for one in trusted.inputs],
                created_at=timezone.now(),
            )
        )
    return moved
