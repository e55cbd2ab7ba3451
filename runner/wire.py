"""What the API and a runner say to each other: plain values, JSON on the wire, no framework.

The API calls the runner's control API (HTTP on a Unix socket):

    GET    /status                -> RunnerStatus
    GET    /leases                -> {"leases": [lease_id, ...]}
    POST   /leases   LeaseRequest -> 200 LeaseGranted | 400 | 503 draining | 504 no browser in time
    PATCH  /leases/{lease_id} LeaseExtension -> 200 LeaseGranted | 400 | 404 there is no such lease (any more)
    DELETE /leases/{lease_id}     -> 204, also when there is no such lease (any more)
    POST   /pages    PageRequest  -> 200 PageResult | 200 PageFailure | 400 | 503 draining | 504 no place in time

A refusal's body is `{"code": "...", "message": "..."}` with one of the `Refusal` codes.
`POST /leases` is idempotent: the same `lease_id` gets the same browser back. Hanging up on `POST /pages` frees the
page at once.

The runner calls the API once for every lease that ended without the API asking for it, and once when it
boots (`POST /internal/runner/report`, `Authorization: Bearer <runner token>`), and repeats until it gets a 2xx:

    RunnerReport -> 204

Boot ids of one runner compare as strings: a later boot's is greater. A report says that every lease of an earlier
boot is gone.
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

Refusal = Literal["bad_request", "draining", "no_browser", "no_lease"]

OS_FAMILIES: tuple[OsFamily, ...] = get_args(OsFamily)
REPORT_PATH = "/internal/runner/report"


class Message:
    """A dataclass that travels as a JSON object. Unknown fields are ignored, so both ends can be upgraded apart."""

    def to_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self)).encode()  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, raw: bytes | str) -> Self:
        """Raises ValueError when `raw` is not an object with every required field."""
        try:
            data = json.loads(raw)
        except RecursionError as error:
            raise ValueError(f"{cls.__name__}: nested too deeply") from error
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
    """A leased browser; times are Unix seconds.

    Capabilities: `profile` in its CDP URLs, `live_view` to watch it, `live_control` to watch and steer it.
    """

    lease_id: str
    runner_id: str
    boot_id: str
    profile: str
    page_id: str
    live_view: str
    live_control: str
    leased_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class LeaseExtension(Message):
    """A later deadline for a lease: so many seconds from now. An earlier one changes nothing."""

    ttl_seconds: int


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


# `flat` is HTML of what is shown, made for conversion: shadow roots and frames in their places, absolute addresses, no
# scripts or styles. `body` is what was sent, decoded but not read as a page; it is asked for alone.
PageFormat = Literal["html", "text", "links", "screenshot", "flat", "body"]
WaitUntil = Literal["load", "domcontentloaded", "networkidle"]
Blockable = Literal["image", "media", "font", "stylesheet"]

# Why a page gave nothing: no connection or no answer (`message` begins with Chromium's net::ERR_ name); an address
# that the policy refuses; the page's own time was up; the answer is a file; more than we carry; `wait_for` is no
# selector; the renderer died (our side).
PageFailureCode = Literal["unreachable", "not_allowed", "timeout", "download", "too_large", "bad_selector", "crashed"]


@dataclass(frozen=True, slots=True)
class PageRequest(Message):
    """Load one page in a context of its own. `queue` is whom it is for: queues get their turns alternately."""

    url: str
    os_family: OsFamily
    country: str
    formats: list[PageFormat]
    queue: str = ""
    wait_until: WaitUntil = "load"
    wait_for: str | None = None
    timeout_ms: int = 60_000
    max_chars: int = 100_000
    full_page: bool = True
    block_resources: list[Blockable] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PageResult(Message):
    """What was found. `url` is where the page ended up; what was not asked for is None.

    `text` and `body` are cut at `max_chars`; `screenshot_png_b64` at `MAX_SCREENSHOT_WIDTH` by `MAX_SCREENSHOT_HEIGHT`
    CSS pixels and at `MAX_SCREENSHOT_AREA`. `duration_ms` runs from the start of the navigation. Where `content_type`
    is not that of a page (XML, JSON, plain text), `html` and `text` are what was sent.
    """

    url: str
    http_status: int
    title: str
    duration_ms: int
    html: str | None = None
    text: str | None = None
    links: list[str] | None = None
    screenshot_png_b64: str | None = None
    flat: str | None = None
    body: str | None = None
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class PageFailure(Message):
    """A page that gave nothing; told from a result by its `failure`. `url` is the address that gave nothing;
    `http_status` is None when there was no answer.
    """

    failure: PageFailureCode
    message: str
    url: str
    http_status: int | None = None


MAX_SCREENSHOT_WIDTH = MAX_SCREENSHOT_HEIGHT = 16_384
MAX_SCREENSHOT_AREA = 32 * 2**20  # four bytes each in the GPU process, several times over


def page_answer(raw: bytes | str) -> PageResult | PageFailure:
    """What `POST /pages` answered with 200. Raises ValueError."""
    data = json.loads(raw)
    if not isinstance(data, dict):
        raise ValueError("a page's answer must be an object")
    return PageFailure.from_dict(data) if "failure" in data else PageResult.from_dict(data)
