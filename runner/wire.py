"""What the API and a runner say to each other: plain values, JSON on the wire, no framework.

The API calls the runner's control API (HTTP on a Unix socket or a private address):

    GET    /status                -> RunnerStatus
    GET    /leases                -> {"leases": [lease_id, ...]}
    POST   /leases   LeaseRequest -> 200 LeaseGranted | 400 | 503 draining | 504 no browser in time
    DELETE /leases/{lease_id}     -> 204, also when there is no such lease (any more)

A refusal's body is `{"code": "...", "message": "..."}` with one of the `Refusal` codes.
`POST /leases` is idempotent: the same `lease_id` gets the same browser back.

The runner calls the API once for every lease that ended without the API asking for it, and once when it
boots (`POST /internal/runner/report`, `Authorization: Bearer <runner token>`), and repeats until it gets a 2xx:

    RunnerReport -> 204

A report with a new `boot_id` says that every lease of an earlier boot is gone.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

OsFamily = Literal["macos", "windows", "linux"]
RunnerState = Literal["starting", "ready", "draining"]

# Why a lease ended: its time was up; the client sent `Browser.close`; Chromium died; the runner was stopped.
EndReason = Literal["expired", "closed", "crashed", "shutdown"]

Refusal = Literal["bad_request", "draining", "no_browser"]

OS_FAMILIES: tuple[OsFamily, ...] = get_args(OsFamily)
REPORT_PATH = "/internal/runner/report"


class Message:
    """A dataclass that travels as a JSON object. Unknown fields are ignored, so both ends can be upgraded apart."""

    def to_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self)).encode()  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, raw: bytes | str) -> Self:
        """Raises ValueError when `raw` is not an object with every required field."""
        data = json.loads(raw)
        if not isinstance(data, dict):
            raise ValueError(f"{cls.__name__}: not a JSON object")
        return cls.from_dict(data)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        names = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        try:
            return cls(**{k: v for k, v in data.items() if k in names})
        except TypeError as error:
            raise ValueError(f"{cls.__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class LeaseRequest(Message):
    """Lease one browser. `lease_id` is the agent's id; `country` is ISO 3166-1 alpha-2 in lower case."""

    lease_id: str
    os_family: OsFamily
    country: str
    ttl_seconds: int
    initial_url: str | None = None
    wait_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class LeaseGranted(Message):
    """A leased browser. `profile` is the capability in its CDP URLs; times are Unix seconds."""

    lease_id: str
    runner_id: str
    boot_id: str
    profile: str
    page_id: str
    leased_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class LeaseEnded(Message):
    lease_id: str
    reason: EndReason
    ended_at: float


@dataclass(frozen=True)  # slots would replace the class, and `super()` below would not find itself
class RunnerReport(Message):
    runner_id: str
    boot_id: str
    ended: list[LeaseEnded] = field(default_factory=list)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        ended = data.get("ended", [])
        if not isinstance(ended, list) or not all(isinstance(item, dict) for item in ended):
            raise ValueError("RunnerReport: ended must be a list of objects")
        return super().from_dict({**data, "ended": [LeaseEnded.from_dict(item) for item in ended]})


@dataclass(frozen=True, slots=True)
class RunnerStatus(Message):
    """`limit` is the most browsers that this runner will run at once."""

    runner_id: str
    boot_id: str
    state: RunnerState
    chromium: str
    warm: int
    starting: int
    leased: int
    waiting: int
    limit: int
