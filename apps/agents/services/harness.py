"""Runs the detection harness on one shape: leases a browser, opens the pages, stores the verdicts.

Its lease has no agent and no workspace, so it is neither billed nor listed. The runner ends it at its deadline if this
process dies.
"""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from apps.agents import agent_urls, harness_checks, identity, selectors
from apps.agents.control_client import RunnerClient
from apps.agents.harness_checks import Check
from apps.agents.harness_driver import HarnessDriver, HarnessError, driven
from apps.agents.models import HarnessVerdict
from apps.agents.services import termination
from apps.core.errors import ApiError
from apps.core.times import rfc3339
from runner.wire import HARNESS_HOST, HARNESS_LEASE_PREFIX, LeaseRequest

log = logging.getLogger(__name__)

LEASE_SECONDS = 300
# Beat looks every hour; a shape is due a little less than a day after its last run.
DUE_AFTER = timedelta(hours=23)
IN_USE = timedelta(days=7)


def run_due(*, runner: RunnerClient, now: datetime | None = None) -> int:
    """Runs the harness on each shape in use that has no verdict of the last day. Returns how many runs succeeded.

    A failed run is logged, and repeated at the next tick. It stores nothing.
    """
    now = now or timezone.now()
    done = 0
    for os_type, country in shapes(now=now):
        if selectors.newest_verdicts(os_type=os_type, country=country, since=now - DUE_AFTER):
            continue
        try:
            run(os_type=os_type, country=country, runner=runner)
        except (ApiError, HarnessError) as error:
            log.warning("a run of the harness failed", extra={"os_type": os_type, "country": country, "cause": error})
        else:
            done += 1
    return done


def shapes(*, now: datetime | None = None) -> list[tuple[str, str]]:
    """OS type and country of what was provisioned in the last 7 days, and the defaults. Only configured countries."""
    in_use = selectors.shapes_in_use(since=(now or timezone.now()) - IN_USE)
    in_use.add((identity.DEFAULT_OS_TYPE, settings.DEFAULT_COUNTRY))
    return sorted(shape for shape in in_use if shape[1] in settings.EGRESS_COUNTRIES)


def run(*, os_type: str, country: str, runner: RunnerClient) -> list[HarnessVerdict]:
    """One run on a browser of this shape. Raises UpstreamUnavailable, UpstreamTimeout and HarnessError."""
    began = timezone.now()
    lease_id = f"{HARNESS_LEASE_PREFIX}{secrets.token_hex(10)}"
    wanted = LeaseRequest(
        lease_id=lease_id,
        os_family=identity.FAMILIES[os_type],
        country=country,
        ttl_seconds=LEASE_SECONDS,
        wait_seconds=settings.LEASE_WAIT_SECONDS,
        harness=True,
    )
    try:
        granted = runner.lease(wanted)
        urls = agent_urls.cdp_urls(settings.GATEWAY_URL, profile=granted.profile, page_id=granted.page_id)
        with driven(urls.cdp_url) as driver:
            readings = _readings(driver)
            external = _external_checks(driver)
    finally:
        termination.release_quietly(agent_id=lease_id, runner=runner)
    checks = [*harness_checks.judge(readings, measured_at=rfc3339(began)), *external]
    hints = readings["automation"]["navigator"]["userAgentData"] or {}
    return _store(checks, os_type=os_type, country=country, chromium=hints.get("uaFullVersion", ""), began=began)


def _readings(driver: HarnessDriver) -> dict[str, Any]:
    driver.accept_any_certificate()  # the server's own, for HTTP/2
    readings = {site: driver.read(f"http://{HARNESS_HOST}/{site}", "reading") for site in harness_checks.SITES}
    readings["drawing_again"] = driver.read(f"http://{HARNESS_HOST}/drawing", "reading")
    driver.verify_certificates()
    return readings


def _external_checks(driver: HarnessDriver) -> list[Check]:
    checks = []
    for page in selectors.harness_pages():
        try:
            value = driver.read(page.url, page.expression)
        except HarnessError as error:
            checks.append(harness_checks.failed(page.name, "load", expected="a value", seen=str(error)[:500]))
        else:
            checks.append(harness_checks.external_check(page.name, value, threshold=page.threshold))
    return checks


def _store(
    checks: Iterable[Check], *, os_type: str, country: str, chromium: str, began: datetime
) -> list[HarnessVerdict]:
    run_id = uuid.uuid4()
    return HarnessVerdict.objects.bulk_create(
        HarnessVerdict(
            run_id=run_id,
            os_type=os_type,
            country=country,
            chromium=chromium,
            site=check.site,
            check_name=check.name,
            outcome=check.outcome,
            detail=check.detail,
            measured_at=began,
        )
        for check in checks
    )
