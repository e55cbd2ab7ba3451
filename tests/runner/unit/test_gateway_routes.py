"""The gateway's addresses, and what DevTools' own JSON becomes."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.gateway.routes import JsonRoute, LiveRoute, SocketRoute, match, rewrite

PROFILE = "r1-" + "0123456789abcdef" * 3
BASE = f"/api/v1/cdp/{PROFILE}"


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (f"{BASE}/ws/page/ABC", SocketRoute(PROFILE, "page", "ABC")),
        (f"{BASE}/ws/browser/a-b-c", SocketRoute(PROFILE, "browser", "a-b-c")),
        (f"{BASE}/json/version", JsonRoute(PROFILE, "/json/version", ("GET", "HEAD"))),
        (f"{BASE}/json/version/", JsonRoute(PROFILE, "/json/version", ("GET", "HEAD"))),
        (f"{BASE}/json/list", JsonRoute(PROFILE, "/json/list", ("GET", "HEAD"))),
        (f"{BASE}/json", JsonRoute(PROFILE, "/json", ("GET", "HEAD"))),
        (f"{BASE}/json/", JsonRoute(PROFILE, "/json", ("GET", "HEAD"))),
        (f"{BASE}/json/protocol", JsonRoute(PROFILE, "/json/protocol", ("GET", "HEAD"))),
        (f"{BASE}/json/new", JsonRoute(PROFILE, "/json/new", ("PUT", "GET"))),
        (f"{BASE}/json/activate/ABC", JsonRoute(PROFILE, "/json/activate/ABC", ("PUT", "GET"))),
        (f"{BASE}/json/close/ABC", JsonRoute(PROFILE, "/json/close/ABC", ("PUT", "GET"))),
        (f"/api/v1/live/{PROFILE}", LiveRoute(PROFILE)),
    ],
)
def test_an_address_is_recognised(path: str, route: SocketRoute | JsonRoute | LiveRoute) -> None:
    assert match(path) == route


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/json/version",
        "/api/v1/cdp/",
        BASE,
        f"{BASE}/",
        f"{BASE}/ws/page/",
        f"{BASE}/ws/page/A/B",
        f"{BASE}/ws/page/A%2e",
        f"{BASE}/ws/page/..",
        "/api/v1/live/",
        f"/api/v1/live/{PROFILE}/",
        f"/api/v1/live/{PROFILE}/ws",
        f"/api/v1/live/{PROFILE.upper()}",
        f"{BASE}/ws/page/{'A' * 65}",
        f"{BASE}/ws/tab/ABC",
        f"{BASE}/json/version/../new",
        f"{BASE}/json/close/",
        f"{BASE}/json/close/../x",
        f"{BASE}/json/unknown",
        f"{BASE}//json/version",
        f"{BASE}/JSON/version",
        "/api/v1/cdp/r1-short/json/version",
        "/api/v1/cdp/r1-" + "A" * 48 + "/json/version",
        "/api/v1/cdp/-" + "a" * 48 + "/json/version",
        f"x{BASE}/json/version",
        f"{BASE}/ws/page/ABC\n",
        f"{BASE}/json/version\n",
    ],
)
def test_every_other_path_is_no_address(path: str) -> None:
    assert match(path) is None


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet="ABCabc019-./%?#\\\r\n \x00é", max_size=80))
def test_what_reaches_chromium_is_never_more_than_a_plain_path(rest: str) -> None:
    route = match(f"{BASE}/{rest}")

    if isinstance(route, SocketRoute):
        assert route.target.replace("-", "").isalnum()
    elif isinstance(route, JsonRoute):
        assert ".." not in route.path


def test_every_websocket_address_becomes_ours_and_nothing_else_changes() -> None:
    answer = [
        {
            "title": "ws://127.0.0.1:1/devtools/page/X",  # a page may call itself so
            "url": "ws://127.0.0.1:1/devtools/page/X",
            "devtoolsFrontendUrl": "https://frontend/?ws=127.0.0.1:1/devtools/page/ABC",
            "devtoolsFrontendUrlCompat": "x",
            "webSocketDebuggerUrl": "ws://127.0.0.1:9222/devtools/page/ABC",
        },
        {"webSocketDebuggerUrl": "ws://localhost/devtools/browser/a-b", "n": [1, None, True]},
    ]

    made = json.loads(rewrite(json.dumps(answer).encode(), profile=PROFILE, public_url="wss://cdp.example"))

    assert made == [
        {
            "title": "ws://127.0.0.1:1/devtools/page/X",
            "url": "ws://127.0.0.1:1/devtools/page/X",
            "webSocketDebuggerUrl": f"wss://cdp.example{BASE}/ws/page/ABC",
        },
        {"webSocketDebuggerUrl": f"wss://cdp.example{BASE}/ws/browser/a-b", "n": [1, None, True]},
    ]


def test_a_rewritten_address_is_one_of_ours() -> None:
    body = b'{"webSocketDebuggerUrl": "ws://127.0.0.1:9/devtools/page/ABC"}'

    url = json.loads(rewrite(body, profile=PROFILE, public_url="ws://h:1"))["webSocketDebuggerUrl"]

    assert match(url.removeprefix("ws://h:1")) == SocketRoute(PROFILE, "page", "ABC")


def test_what_is_not_json_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        rewrite(b"Target is closing", profile=PROFILE, public_url="ws://h")
