"""The agents' part of readiness."""

from __future__ import annotations

import dataclasses
from typing import Any

from apps.agents.control_client import runner_client
from apps.core.health import Unhealthy


def runner_with_a_warm_browser() -> dict[str, Any]:
    """Browsers that are all leased are no fault: the pool is at work."""
    status = runner_client().status()
    detail = dataclasses.asdict(status)
    if status.state != "ready" or status.warm + status.leased == 0:
        raise Unhealthy(f"the runner is {status.state} with {status.warm} warm browsers")
    return detail
