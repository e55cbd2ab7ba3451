"""What the quick calls refuse: 400 naming the field, and nothing recorded, held or asked for.

Every bad value meets its serializer; one for each call goes through the whole API.
"""

from __future__ import annotations

from typing import Any

import pytest

from apps.agents.models import Agent
from apps.jobs.models import Job
from apps.jobs.pages import serializers
from tests.cast import Member, call, refused
from tests.fakes.runner import FakeRunner

URL = "http://site.test/"
PATHS = ["scrape", "extract", "screenshot", "batch", "crawl"]
GOOD: dict[str, dict[str, Any]] = {
    "scrape": {"url": URL},
    "extract": {"url": URL, "prompt": "x"},
    "screenshot": {"url": URL},
    "batch": {"urls": [URL]},
    "crawl": {"url": URL},
}

SERIALIZERS = {
    "scrape": serializers.ScrapeSerializer,
    "extract": serializers.ExtractSerializer,
    "screenshot": serializers.ScreenshotSerializer,
    "batch": serializers.BatchSerializer,
    "crawl": serializers.CrawlSerializer,
}

BAD_URLS = [
    "",
    " ",
    "site.test",
    "//site.test/",
    "javascript:alert(1)",
    "file:///etc/passwd",
    "data:text/html,x",
    "ftp://site.test/",
    "blob:http://site.test/x",
    "view-source:http://site.test/",
    "about:blank",
    "chrome://settings",
    "http://",
    "http:///x",
    "http:site.test",
    "http://user:secret@site.test/",
    "http://site.test:0/",
    "http://site.test:99999/",
    "http://site test/",
    "http://site.test/\n",
    "http://[::1",
    "http://a\\b/",
    " http://site.test/",
    "http://" + "a" * 64 + ".test/",
    "http://site.test/" + "a" * 2048,
    5,
    True,
    [],
    {},
    [URL],
]

COMMON: list[tuple[str, Any]] = [
    ("country", 1),
    ("country", "zz"),
    ("country", ""),
    ("os_type", "windows"),
    ("os_type", 1),
    ("max_chars", 0),
    ("max_chars", -1),
    ("max_chars", 1_000_001),
    ("max_chars", "100"),
    ("max_chars", 1.5),
    ("max_chars", True),
    ("wait_until", "idle"),
    ("wait_until", ""),
    ("wait_until", []),
    ("wait_for", 1),
    ("wait_for", ""),
    ("wait_for", "a" * 1001),
    ("timeout_ms", 0),
    ("timeout_ms", 60_001),
    ("timeout_ms", "1000"),
    ("timeout_ms", True),
    ("block_resources", "image"),
    ("block_resources", ["script"]),
    ("block_resources", [1]),
    ("block_resources", {"image": True}),
]
FORMATS: list[tuple[str, Any]] = [("formats", "html"), ("formats", [1]), ("formats", [None]), ("formats", {})]
OWN: dict[str, list[tuple[str, Any]]] = {
    "scrape": [*FORMATS, ("async", "true"), ("async", 1), ("async", [])],
    "extract": [
        ("async", 0),
        ("prompt", 1),
        ("prompt", ""),
        ("prompt", "a" * 20_001),
    ],
    "screenshot": [("full_page", "yes"), ("full_page", 1), ("async", "false")],
    "batch": [
        *FORMATS,
        ("urls", URL),
        ("urls", []),
        ("urls", {}),
        ("urls", [URL] * 501),
        ("urls", [URL, 5]),
        ("urls", [URL, None]),
        ("urls", [URL, "javascript:alert(1)"]),
    ],
    "crawl": [
        *FORMATS,
        ("max_pages", 0),
        ("max_pages", 501),
        ("max_pages", "10"),
        ("max_pages", 1.0),
        ("max_depth", -1),
        ("max_depth", 101),
        ("max_depth", True),
        ("same_origin", "yes"),
        ("respect_robots", 0),
        ("include", "/x"),
        ("include", [1]),
        ("include", [""]),
        ("include", ["/[a"]),
        ("include", ["/x"] * 21),
        ("exclude", ["{a,b}"]),
        ("exclude", ["a b"]),
        ("exclude", ["/[z-a]"]),
        ("exclude", ["/x"] * 21),
        ("exclude", ["x" * 201]),
    ],
}
TABLE = [
    *((path, field, value) for path in PATHS for field, value in COMMON),
    *((path, field, value) for path, rows in OWN.items() for field, value in rows),
    *((path, "url", url) for path in ("scrape", "crawl") for url in BAD_URLS),
    *(("batch", "urls", [URL, url]) for url in BAD_URLS),
]


def _label(value: object) -> str:
    return repr(value)[:40]


@pytest.mark.parametrize(("path", "field", "value"), TABLE, ids=_label)
def test_a_bad_field_is_named(path: str, field: str, value: Any) -> None:
    error = refused(SERIALIZERS[path], {**GOOD[path], field: value})

    assert (error.status, error.code) == (400, "BAD_REQUEST")
    assert any(name.split(".")[0] == field for name in error.fields), error.fields
    assert field in error.message


@pytest.mark.parametrize("path", PATHS)
def test_a_bad_field_begins_nothing(alice: Member, runner: FakeRunner, path: str) -> None:
    reply = alice.post(f"/v1/quick/{path}", {**GOOD[path], "country": "zz"})

    assert (reply.status, reply.code) == (400, "BAD_REQUEST"), reply.content
    assert list(reply.body["fields"]) == ["country"]
    assert "country" in reply.body["error"]
    nothing_began(runner)


SCHEMAS: list[Any] = [
    {"type": "wrong"},
    {"properties": []},
    {"properties": {"a": 1}},
    {"minimum": "3"},
    {"required": "a"},
    {"$ref": "https://example.com/schema.json"},
    {"properties": {"a": {"$ref": "file:///etc/passwd"}}},
    {"$schema": "https://example.com/other"},
    {"$schema": 7},
    {"enum": list(range(501))},
    {"properties": {str(number): {} for number in range(2000)}},
    [],
    "object",
    True,
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=_label)
def test_a_bad_schema_is_named(schema: Any) -> None:
    error = refused(serializers.ExtractSerializer, {"url": URL, "schema": schema})

    assert (error.status, error.code) == (400, "BAD_REQUEST")
    assert list(error.fields) == ["schema"]


def test_a_schema_that_is_nested_too_deeply_is_named(alice: Member, runner: FakeRunner) -> None:
    schema: dict[str, Any] = {}
    for _ in range(40):
        schema = {"not": schema}

    reply = alice.post("/v1/quick/extract", {"url": URL, "schema": schema})

    assert (reply.status, list(reply.body["fields"])) == (400, ["schema"])


@pytest.mark.parametrize("fields", [{}, {"schema": {}, "prompt": "x"}, {"schema": None, "prompt": None}])
def test_extract_takes_exactly_one_of_schema_and_prompt(
    alice: Member, runner: FakeRunner, fields: dict[str, Any]
) -> None:
    reply = alice.post("/v1/quick/extract", {"url": URL, **fields})

    assert (reply.status, reply.code) == (400, "BAD_REQUEST")
    assert "schema" in reply.body["fields"] and "prompt" in reply.body["error"]
    nothing_began(runner)


@pytest.mark.parametrize("path", PATHS)
def test_what_is_required_is_named(alice: Member, runner: FakeRunner, path: str) -> None:
    required = "urls" if path == "batch" else "url"
    body = {name: value for name, value in GOOD[path].items() if name != required}

    reply = alice.post(f"/v1/quick/{path}", body)

    assert (reply.status, list(reply.body["fields"])) == (400, [required])
    nothing_began(runner)


BODIES: list[tuple[bytes, str, int]] = [
    (b"[]", "application/json", 400),
    (b"url=x", "application/x-www-form-urlencoded", 415),
    (b"", "application/json", 400),
    (b"{", "application/json", 400),
    (b'"x"', "application/json", 400),
    (b"null", "application/json", 400),
    (b'{"url": NaN}', "application/json", 400),
    (b"\xff\xfe", "application/json", 400),
    (b"[" * 10_000, "application/json", 400),
    (b"x" * (1024 * 1024 + 1), "application/json", 413),
]


@pytest.mark.parametrize(
    ("path", "content", "content_type", "status"),
    [
        *(("/v1/quick/scrape", *body) for body in BODIES),
        *((path, *body) for path in (*(f"/v1/quick/{path}" for path in PATHS[1:]), "/v1/auto") for body in BODIES[:2]),
    ],
    ids=_label,
)
def test_a_body_that_is_no_json_object(
    alice: Member, runner: FakeRunner, path: str, content: bytes, content_type: str, status: int
) -> None:
    reply = call("POST", path, key=alice.secret, content=content, content_type=content_type)

    assert reply.status == status, reply.content
    assert reply.body["request_id"] == reply.headers["X-Request-Id"]
    nothing_began(runner)


@pytest.mark.parametrize("task", [None, "", " ", 5, [], {}, True, "a" * 20_001])
def test_auto_needs_a_task(alice: Member, runner: FakeRunner, task: Any) -> None:
    reply = alice.post("/v1/auto", {"task": task})

    assert (reply.status, list(reply.body["fields"])) == (400, ["task"])
    nothing_began(runner)


@pytest.mark.parametrize("path", [*(f"/v1/quick/{path}" for path in PATHS), "/v1/auto"])
def test_only_post_and_only_with_a_key(alice: Member, runner: FakeRunner, path: str) -> None:
    refused = alice.get(path)

    assert (refused.status, refused.code, refused.headers["Allow"]) == (405, "METHOD_NOT_ALLOWED", "POST")
    assert call("POST", path, content=b"{}").status == 401
    assert call("POST", path, key="agt_live_" + "0" * 32, content=b"{}").status == 401


def nothing_began(runner: FakeRunner) -> None:
    assert not Job.objects.exists() and not Agent.objects.exists()
    assert not runner.pages.requests
