"""What the control API refuses before it asks for a browser or a page."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest

from addresses.egress import Upstream
from runner.control import Control
from runner.egress.check import check_egress
from runner.egress.dial import Dialer
from runner.egress.upstreams import Upstreams
from runner.leases import Leases
from runner.pages.slots import NoPlace
from runner.pool import NoBrowser
from runner.pool_decisions import PoolState, Wanted

LEASE = {"lease_id": "agt_x", "os_family": "macos", "country": "us", "ttl_seconds": 60}
DEAD = Upstream("http", "127.0.0.1", 1, "user", "hunter2")  # nothing listens on port 1
PAGE = {"url": "http://127.0.0.1/", "os_family": "macos", "country": "us", "formats": []}


class Empty:
    """A pool and a page service that have nothing to give. They count who asks."""

    def __init__(self) -> None:
        self.asked = 0

    async def take(self, order: Wanted, *, wait: float) -> Any:
        self.asked += 1
        raise NoBrowser("no browser")

    async def fetch(self, wanted: object, *, wait: float) -> Any:
        self.asked += 1
        raise NoPlace("no place")

    def state(self) -> Any:
        return PoolState(keep={}, limit=1)


@pytest.fixture
async def empty() -> Empty:
    return Empty()


@pytest.fixture
async def socket() -> AsyncIterator[Path]:
    with TemporaryDirectory(prefix="bwc") as folder:  # short: a Unix socket's path has 107 bytes at most
        yield Path(folder) / "control.sock"


@pytest.fixture
async def upstreams() -> AsyncIterator[Upstreams]:
    made = Upstreams({"us": "direct", "de": (DEAD,)})
    yield made
    made.close()


@pytest.fixture
async def http(empty: Any, socket: Path, upstreams: Upstreams) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a control API that listens."""
    leases = Leases(empty, runner_id="r1", boot_id="boot", upstreams=upstreams, on_end=lambda ended: None)
    control = Control(
        leases,
        empty,
        empty,
        runner_id="r1",
        boot_id="boot",
        chromium="156",
        upstreams=upstreams,
        check_egress=partial(check_egress, upstreams, Dialer(()), echo_url=None),
    )
    await control.start(socket)
    transport = httpx.AsyncHTTPTransport(uds=str(socket), verify=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://runner") as client:
        yield client
    await control.close()


async def refuses(http: httpx.AsyncClient, empty: Empty, path: str, body: object) -> None:
    answer = await http.post(path, **({"content": body} if isinstance(body, bytes) else {"content": json.dumps(body)}))

    assert answer.status_code in (400, 413)
    if answer.status_code == 400:
        assert answer.json()["code"] == "bad_request"
        assert answer.json()["message"]
    assert empty.asked == 0
    assert (await http.get("/leases")).json() == {"leases": []}


@pytest.mark.parametrize(("path", "body"), [("/leases", LEASE), ("/pages", PAGE)])
async def test_a_sound_request_is_served_or_told_that_there_is_nothing(
    http: httpx.AsyncClient, empty: Empty, path: str, body: object
) -> None:
    answer = await http.post(path, json=body)

    assert (answer.status_code, answer.json()["code"], empty.asked) == (504, "no_browser", 1)


@pytest.mark.parametrize(("path", "body"), [("/leases", LEASE), ("/pages", PAGE)])
async def test_a_country_whose_upstreams_rest_is_refused_by_name(
    http: httpx.AsyncClient, empty: Empty, path: str, body: dict[str, object]
) -> None:
    report = (await http.post("/egress/check")).json()
    answer = await http.post(path, json={**body, "country": "de"})

    dead = {"country": "de", "way": "http://127.0.0.1:1", "problem": "it refuses connections"}
    direct = {"country": "us", "way": "direct", "problem": ""}
    unknown = {"milliseconds": None, "address": None}
    assert report == {"checks": [direct | unknown, dead | unknown]}
    message = "no upstream proxy of country de works"
    assert (answer.status_code, answer.json()) == (502, {"code": "no_egress", "message": message})
    assert empty.asked == 0
    status = (await http.get("/status")).json()
    faults = ["http://127.0.0.1:1: it refuses connections"]
    assert status["egress"] == [{"country": "de", "upstreams": 1, "healthy": 0, "faults": faults}]


@pytest.mark.parametrize("path", ["/leases", "/pages"])
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff", b"[" * 50_000, b"x" * 100_000, {}],
    ids=lambda body: str(body)[:60],
)
async def test_a_body_that_is_no_request_is_refused(
    http: httpx.AsyncClient, empty: Empty, path: str, body: object
) -> None:
    await refuses(http, empty, path, body)


@pytest.mark.parametrize(
    "change",
    [
        {"lease_id": ""},
        {"lease_id": 1},
        {"lease_id": None},
        {"os_family": "beos"},
        {"os_family": ["macos"]},
        {"country": "xx"},
        {"country": "fr"},
        {"country": []},
        {"country": {}},
        {"ttl_seconds": 0},
        {"ttl_seconds": -1},
        {"ttl_seconds": "60"},
        {"ttl_seconds": 10**9},
        {"ttl_seconds": None},
        {"ttl_seconds": float("nan")},
        {"wait_seconds": -1},
        {"wait_seconds": 10**6},
        {"wait_seconds": "soon"},
        {"initial_url": 7},
        {"initial_url": ["https://example.org"]},
    ],
    ids=str,
)
async def test_a_senseless_lease_is_refused(http: httpx.AsyncClient, empty: Empty, change: dict[str, Any]) -> None:
    await refuses(http, empty, "/leases", LEASE | change)


@pytest.mark.parametrize(
    "change",
    [
        {"url": "file:///etc/passwd"}, {"url": "javascript:1"}, {"url": 5}, {"os_family": "beos"}, {"country": "xx"},
        {"wait_until": "forever"}, {"block_resources": ["script"]}, {"timeout_ms": 0}, {"timeout_ms": "1"},
    ],
    ids=str,
)  # fmt: skip
async def test_a_senseless_page_is_refused(http: httpx.AsyncClient, empty: Empty, change: dict[str, Any]) -> None:
    await refuses(http, empty, "/pages", PAGE | change)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("PUT", "/leases", 405), ("GET", "/../x", 404)]
)
async def test_unknown_calls_are_refused(http: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    assert (await http.request(method, path)).status_code == status


async def test_only_the_apis_own_user_can_open_the_socket(http: httpx.AsyncClient, socket: Path) -> None:
    assert socket.stat().st_mode & 0o777 == 0o600
