"""Reads `/readyz` and decides whether the supervisor may print `ready`."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Readiness:
    """`reachable`: the API answered. `working` and `missing`: the names of its checks."""

    reachable: bool = False
    ready: bool = False
    working: frozenset[str] = frozenset()
    missing: dict[str, str] = field(default_factory=dict)


def judge(status: int, body: dict[str, Any], since_start: float) -> Readiness:
    """`since_start`: seconds since this stack's worker and beat were started.

    An older tick comes from the stack's previous run and does not show that this worker and beat work.
    """
    checks = {name: check for name, check in body.get("checks", {}).items() if isinstance(check, dict)}
    missing = {name: str(check.get("error", "")) for name, check in checks.items() if not check.get("ok")}
    for name, check in checks.items():
        if check.get("ok") and check.get("last_tick_seconds_ago", 0) > since_start:
            missing[name] = "no tick since the start"
    return Readiness(True, status == 200 and not missing, frozenset(checks) - frozenset(missing), missing)


def ask(port: int, since_start: float) -> Readiness:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = json.loads(answer.read())
        return judge(answer.status, body if isinstance(body, dict) else {}, since_start)
    except (OSError, ValueError, http.client.HTTPException):
        return Readiness()
    finally:
        connection.close()
