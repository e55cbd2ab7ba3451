"""The messages between the API and a runner: dataclasses, sent as JSON, without a framework.

The API calls the runner's control API (HTTP on a Unix socket):

    GET    /status                -> RunnerStatus
    GET    /leases                -> {"leases": [lease_id, ...]}
    POST   /leases   LeaseRequest -> 200 LeaseGranted | 400 | 502 no egress | 503 draining | 504 no browser in time
    PATCH  /leases/{lease_id} LeaseExtension -> 200 LeaseGranted | 400 | 404 no such lease
    DELETE /leases/{lease_id}     -> 204, also when there is no such lease
    GET    /leases/{lease_id}/downloads -> 200 DownloadList | 404 no such lease
    GET    /leases/{lease_id}/downloads/{id} -> 200 the file's bytes | 404 no such lease or file
    POST   /pages    PageRequest  -> 200 PageResult | 200 PageFailure | 400 | 502 | 503 draining | 504 no slot in time
    POST   /egress/check          -> 200 EgressReport; it takes as long as the slowest proxy

502 says that no upstream proxy of the requested country works.
A refusal's body is `{"code": "...", "message": "..."}` with one of the `RefusalCode` codes.
`POST /leases` is idempotent: the same `lease_id` gets the same browser back. Closing the connection of
`POST /pages` frees the page at once.

The runner calls the API once for each lease that ended without a request of the API, and once when it boots
(`POST /internal/runner/report`, `Authorization: Bearer <runner token>`). It retries until it gets a 2xx:

    RunnerReport -> 204

Boot ids of one runner are compared as strings: that of a later boot is greater. A report also means that every lease of
an earlier boot has ended.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from fingerprints.families import OS_FAMILIES as OS_FAMILIES
from fingerprints.families import OsFamily as OsFamily

RunnerState = Literal["starting", "ready", "draining"]

# Why a lease ended: its TTL expired; the client sent `Browser.close`; Chromium crashed; the runner was stopped.
EndReason = Literal["expired", "closed", "crashed", "shutdown"]

RefusalCode = Literal["bad_request", "draining", "no_browser", "no_egress", "no_lease", "no_download"]

REPORT_PATH = "/internal/runner/report"
# Pages of the runner: `http://HARNESS_HOST/<site>`, see `runner.identity.harness_site`.
HARNESS_HOST = "browsa.localhost"
HARNESS_LEASE_PREFIX = "harness_"  # no agent has such an id


class Message:
    """A dataclass that is sent as a JSON object. Unknown fields are ignored, so each end can be upgraded alone."""

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
    """A request for one browser. `lease_id` is the agent's id; `country` is ISO 3166-1 alpha-2 in lower case.

    `seed` draws the fingerprint; empty: any. `overrides` replaces drawn values by name, both as text. A request with a
    seed or overrides gets a browser that is started for it, because a warm one has a fingerprint already.
    `harness`: this browser also reaches the reference pages of the detection harness.
    """

    lease_id: str
    os_family: OsFamily
    country: str
    ttl_seconds: int
    initial_url: str | None = None
    wait_seconds: float = 30.0
    seed: str = ""
    overrides: dict[str, str] = field(default_factory=dict)
    harness: bool = False


@dataclass(frozen=True, slots=True)
class LeaseGranted(Message):
    """A leased browser; times are Unix seconds.

    Capabilities: `profile` in its CDP URLs, `live_view` to watch it, `live_control` to watch and control it.
    `fingerprint` is what this browser reports, measured in it before the lease; `seed` is what it was drawn from.
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
    fingerprint: dict[str, Any] = field(default_factory=dict)
    seed: str = ""


@dataclass(frozen=True, slots=True)
class LeaseExtension(Message):
    """A later deadline for a lease, in seconds from now. An earlier one changes nothing."""

    ttl_seconds: int


DownloadState = Literal["in_progress", "completed", "canceled"]


@dataclass(frozen=True, slots=True)
class Download(Message):
    """A file that a leased browser downloads. `size` is in bytes, so far; `created_at` in Unix seconds.

    `name` is the file name that the page or the server suggests; two downloads may have the same.
    """

    id: str
    name: str
    url: str
    size: int
    state: DownloadState
    created_at: float


@dataclass(frozen=True)  # no slots: they create a new class, and `super()` would fail
class DownloadList(Message):
    """Newest first."""

    downloads: list[Download]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        downloads = data.get("downloads")
        if not isinstance(downloads, list) or not all(isinstance(item, dict) for item in downloads):
            raise ValueError("DownloadList: downloads must be a list of objects")
        return cls([Download.from_dict(item) for item in downloads])


@dataclass(frozen=True, slots=True)
class LeaseEnded(Message):
    lease_id: str
    reason: EndReason
    ended_at: float


@dataclass(frozen=True)  # no slots: they create a new class, and `super()` would fail
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
class JailStatus(Message):
    """How browsers are confined. `limits` lists what limits each one: control groups (memory, pids, cpu) and rlimits.

    `users` is the host uid of the jails: a separate one for each (`own`), the runner's, or root.
    """

    mode: Literal["bwrap", "off"] = "off"
    users: Literal["own", "runner", "root"] = "runner"
    limits: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CountryEgress(Message):
    """The upstream proxies of one country. `faults` says for each one that rests what is wrong, without credentials."""

    country: str
    upstreams: int
    healthy: int
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ExitCheck(Message):
    """One way out of a country: "direct" or an upstream proxy, without credentials. `problem` is empty when it works.

    `milliseconds` is the time until the proxy, or the site behind it, was reached. `address` is what the echo service
    saw.
    """

    country: str
    way: str
    problem: str = ""
    milliseconds: int | None = None
    address: str | None = None


@dataclass(frozen=True)  # no slots: they create a new class, and `super()` would fail
class EgressReport(Message):
    checks: list[ExitCheck]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        checks = data.get("checks")
        if not isinstance(checks, list) or not all(isinstance(item, dict) for item in checks):
            raise ValueError("EgressReport: checks must be a list of objects")
        return super().from_dict({"checks": [ExitCheck.from_dict(item) for item in checks]})


@dataclass(frozen=True)  # no slots: they create a new class, and `super()` would fail
class RunnerStatus(Message):
    """`limit` is the most browsers that this runner runs at once. `egress` has the countries with upstream proxies."""

    runner_id: str
    boot_id: str
    state: RunnerState
    chromium: str
    warm: int
    starting: int
    leased: int
    waiting: int
    limit: int
    jail: JailStatus = field(default_factory=JailStatus)
    egress: list[CountryEgress] = field(default_factory=list)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        jail, egress = data.get("jail", {}), data.get("egress", [])
        if not isinstance(jail, dict):
            raise ValueError("RunnerStatus: jail must be an object")
        if not isinstance(egress, list) or not all(isinstance(item, dict) for item in egress):
            raise ValueError("RunnerStatus: egress must be a list of objects")
        countries = [CountryEgress.from_dict(item) for item in egress]
        return super().from_dict({**data, "jail": JailStatus.from_dict(jail), "egress": countries})


# `flat` is HTML of what is shown, made for conversion: shadow roots and frames in their places, absolute addresses, no
# scripts or styles. `body` is what was sent, decoded but not read as a page; it is asked for alone.
PageFormat = Literal["html", "text", "links", "screenshot", "flat", "body"]
WaitUntil = Literal["load", "domcontentloaded", "networkidle"]
Blockable = Literal["image", "media", "font", "stylesheet"]

# Why a page has no result: no connection or no response (`message` begins with Chromium's net::ERR_ name); the policy
# refuses the address; the timeout; the response is a download; the content is too large; `wait_for` is not a valid
# selector; the renderer crashed.
PageFailureCode = Literal["unreachable", "not_allowed", "timeout", "download", "too_large", "bad_selector", "crashed"]


@dataclass(frozen=True, slots=True)
class PageRequest(Message):
    """Load one page in a separate browser context. `queue` is its workspace: slots go to queues in turn."""

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
    """The content of a page. `url` is the final URL; formats that were not requested are None.

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
    """A page without a result; only this message has `failure`. `url` is the address that failed; `http_status` is None
    without a response.
    """

    failure: PageFailureCode
    message: str
    url: str
    http_status: int | None = None


MAX_SCREENSHOT_WIDTH = MAX_SCREENSHOT_HEIGHT = 16_384
MAX_SCREENSHOT_AREA = 32 * 2**20  # four bytes each in the GPU process, several times over


def page_answer(raw: bytes | str) -> PageResult | PageFailure:
    """Parse the body of a 200 from `POST /pages`. Raises ValueError."""
    data = json.loads(raw)
    if not isinstance(data, dict):
        raise ValueError("a page's answer must be an object")
    return PageFailure.from_dict(data) if "failure" in data else PageResult.from_dict(data)
