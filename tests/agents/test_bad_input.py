"""Every field of POST /v1/agents, in every way that it can be wrong: 400 naming the field, nothing held or leased.

Every bad value meets the serializer; one for each field goes through the whole API.
"""

from __future__ import annotations

from typing import Any

import pytest

from apps.agents.models import Agent
from apps.agents.serializers import CreateAgentSerializer
from tests.cast import Member, call, refused
from tests.fakes.runner import FakeRunner

NOT_STRINGS: list[Any] = [5, 1.5, True, [], {}, ["us"]]
BAD_URLS = [
    "",
    "example.com",
    "//example.com",
    "/path",
    "ftp://example.com",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:text/html,x",
    "chrome://version",
    "about:blank",
    "view-source:http://example.com",
    "http:",
    "http://",
    "http:///path",
    "http:example.com",
    "http://:80",
    "http://user@example.com",
    "http://user:password@example.com",
    "http://example.com\\@evil.example",
    "http://example.com:0",
    "http://example.com:",
    "http://example.com:65536",
    "http://example.com:x",
    "http://exa mple.com",
    " http://example.com",
    "http://example.com\n",
    "http://example.com/\t",
    "http://exam%70le.com",
    "http://a..b",
    "http://[::1",
    "http://[no]",
    "http://-",
    "http://" + "a" * 64 + ".com",
    "http://example.com/" + "a" * 2048,
]
ROWS: list[tuple[str, Any]] = [
    *[("ttl", value) for value in NOT_STRINGS],
    *[("ttl", text) for text in ("", "5", "m", "5 m", "5M", "5min", "-5m", "1.5h", "\u0665m", "1d", "9" * 30 + "s")],
    *[("ttl", text) for text in ("299s", "0m", "4m", "61m", "2h", "3601s")],
    *[("ttl_seconds", value) for value in ("300", 300.0, 300.5, True, [], {}, -1, 0, 299, 3601, 10**30)],
    *[("mode", value) for value in [*NOT_STRINGS, "", "Burner", "other"]],
    *[("initial_url", value) for value in [*NOT_STRINGS, *BAD_URLS]],
    *[("country", value) for value in [*NOT_STRINGS, "", "u", "usa", "zz", "U$", "fr"]],
    *[("os_type", value) for value in [*NOT_STRINGS, "macos", "os_type_macos", "OS_TYPE_ANDROID"]],
    *[("persona", value) for value in [*NOT_STRINGS, "x" * 201]],
    *[("warmup_recipe", value) for value in [*NOT_STRINGS, "Amazon", "ebay"]],
    *[("fingerprint_seed", value) for value in [*NOT_STRINGS, "x" * 65]],
    *[("screen_resolution", value) for value in [*NOT_STRINGS, "large", "1920", "0x0", "mobile", "1920 x 1080"]],
    *[("webrtc_mode", value) for value in [*NOT_STRINGS, "on", "Masked"]],
    *[("geolocation_mode", value) for value in [*NOT_STRINGS, "ask"]],
    *[("geolocation_data", value) for value in [*NOT_STRINGS, "52.5", "91,0", "0,181", "nan,0", "a,b"]],
    *[("media_devices_mode", value) for value in [*NOT_STRINGS, "disabled"]],
    *[("port_scan_protection", value) for value in [*NOT_STRINGS, "off"]],
    *[("ja3_profile", value) for value in [*NOT_STRINGS, "x" * 101]],
]


def body_with(field: str, value: Any) -> dict[str, Any]:
    return {"ttl": "5m", field: value} if field == "persona" else {field: value}


@pytest.mark.parametrize(("field", "value"), ROWS, ids=lambda value: repr(value)[:40])
def test_a_bad_field_is_named(field: str, value: Any) -> None:
    error = refused(CreateAgentSerializer, body_with(field, value))

    assert (error.status, error.code) == (400, "BAD_REQUEST")
    assert list(error.fields) == [field]
    assert error.message.startswith(f"{field}: ")


@pytest.mark.parametrize(("field", "value"), dict(ROWS).items(), ids=lambda value: repr(value)[:40])
def test_a_bad_field_costs_nothing(alice: Member, runner: FakeRunner, field: str, value: Any) -> None:
    reply = alice.post("/v1/agents", body_with(field, value))

    assert (reply.status, reply.code) == (400, "BAD_REQUEST"), reply.content
    assert list(reply.body["fields"]) == [field]
    assert reply.body["error"].startswith(f"{field}: ")
    assert not runner.requests
    assert not Agent.objects.exists()
    assert alice.credits() == (100, 0)


def test_a_country_that_is_not_configured_is_refused_with_a_list_of_those_that_are(
    alice: Member, runner: FakeRunner
) -> None:
    reply = alice.post("/v1/agents", {"country": "fr"})

    assert reply.status == 400
    assert reply.body["fields"] == {"country": ["is not available; available countries: us, de"]}
    assert not runner.requests


@pytest.mark.parametrize(
    "body",
    [
        {"ttl": "5m", "ttl_seconds": 600},
        {"ttl": "1h", "ttl_seconds": 300},
    ],
)
def test_two_ttls_that_differ_are_refused(alice: Member, runner: FakeRunner, body: dict[str, Any]) -> None:
    assert alice.post("/v1/agents", body).body["fields"].keys() == {"ttl"}


@pytest.mark.parametrize(
    "body",
    [
        {"mode": "persistent"},
        {"mode": "persistent", "ttl": "5m"},
        {"persona": "us-shopper-30s"},
        {"warmup_recipe": "amazon"},
    ],
)
def test_persistent_mode_is_not_there_yet(alice: Member, runner: FakeRunner, body: dict[str, Any]) -> None:
    reply = alice.post("/v1/agents", body)

    assert reply.status == 400
    assert list(reply.body["fields"]) == ["mode"]
    assert not runner.requests


@pytest.mark.parametrize(
    "body",
    [
        {"ttl": "5m", "ttl_seconds": 300},
        {"ttl": None, "mode": None, "initial_url": None, "country": None, "persona": None},
        {"os_type": "", "persona": "", "warmup_recipe": ""},
        {"persona": "us-shopper-30s", "ttl": "300s"},
        {"persona": "us-shopper-30s", "mode": "burner"},
        {"country": "Us", "unknown": {"field": [1]}},
        {"initial_url": "https://münchen.example:8443/päth?q=ü#f"},
        {"initial_url": "http://[2606:4700:4700::1111]:8080/"},
        {"initial_url": "HTTP://EXAMPLE.COM."},
        {"ttl": "60m"},
        {"screen_resolution": "", "webrtc_mode": "", "geolocation_data": "", "ja3_profile": "", "fingerprint_seed": ""},
        {"screen_resolution": "99999x99999", "fingerprint_seed": "s" * 64},
    ],
)
def test_what_is_allowed_is_allowed(alice: Member, runner: FakeRunner, body: dict[str, Any]) -> None:
    assert alice.post("/v1/agents", body).status == 201


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'"text"',
        b"5",
        b"null",
        b"true",
        b'{"ttl": NaN}',
        b'{"ttl_seconds": Infinity}',
        b'{"ttl_seconds": 1e999}',
        b'{"ttl_seconds": ' + b"9" * 5000 + b"}",
        b'{"persona": "\\u0000"}',
        b'{"persona": "\\ud800"}',
        b'{"\\u0000": 1}',
        b'{"persona": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}",
        b"\xef\xbb\xbf{}",
        b"{} {}",
    ],
    ids=lambda content: repr(content[:30]),
)
def test_a_body_that_is_no_sound_json_object_is_refused(alice: Member, runner: FakeRunner, content: bytes) -> None:
    reply = call("POST", "/v1/agents", key=alice.secret, content=content)

    assert (reply.status, reply.code) == (400, "BAD_REQUEST"), reply.content
    assert not runner.requests


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_of_another_type_is_415(alice: Member, runner: FakeRunner, content_type: str) -> None:
    reply = call("POST", "/v1/agents", key=alice.secret, content=b"{}", content_type=content_type)

    assert (reply.status, reply.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_charset_on_the_content_type_is_fine(alice: Member, runner: FakeRunner) -> None:
    reply = call("POST", "/v1/agents", key=alice.secret, content=b"{}", content_type="application/json; charset=utf-8")

    assert reply.status == 201


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/", "http://[::ffff:10.0.0.1]/", "https://metadata.localhost/"])
def test_an_address_that_leads_inside_is_no_first_page(alice: Member, runner: FakeRunner, url: str) -> None:
    reply = alice.post("/v1/agents", {"initial_url": url})

    assert (reply.status, reply.code, set(reply.body["fields"])) == (400, "URL_NOT_ALLOWED", {"initial_url"})
    assert not runner.requests
