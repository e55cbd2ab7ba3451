"""The smaller parts of reading pages: Markdown, clean text, robots.txt, JSON Schema."""

from __future__ import annotations

import os
from typing import Any

import pytest

from apps.jobs import json_schemas
from apps.jobs.pages import markdown
from apps.jobs.pages.loading import cleaned
from apps.jobs.pages.robots import Robots, address
from tests.patience import PATIENCE, cpu_seconds

KIB, MIB = 1024, 1024 * 1024


@pytest.fixture(autouse=True)
def only_work_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The converter's process keeps its ten seconds of CPU time. How long it waits for them is the machine's affair."""
    monkeypatch.setattr(markdown, "MAX_SECONDS", PATIENCE)


async def test_markdown_of_a_page() -> None:
    html = (
        "<title>x</title><h1>A</h1><p>b <strong>c</strong> <a href='/d'>d</a></p><ul><li>e</ul>"
        "<pre><code>f = 1</code></pre><table><tr><th>g<th>h<tr><td>1<td>2</table><script>i()</script>"
    )

    found = await markdown.markdown(html)

    assert (
        "# A" in found and "b **c** [d](/d)" in found and "- e" in found and "f = 1" in found and "| g | h |" in found
    )
    assert "i()" not in found


async def test_a_large_page_is_converted_in_a_process_of_its_own() -> None:
    html = "<p>Some <b>words</b> and a <a href='/a'>link</a>.</p>" * 4000

    found = await markdown.markdown(html)

    assert len(html) > markdown.INLINE_CHARS
    assert found.count("Some **words** and a [link](/a).") == 4000


HOSTILE = [
    "<div>" * 40_000,
    "<b><i>" * 30_000,
    "<ul><li>" * 20_000,
    "<blockquote>" * 15_000,
    "<" * 200 * KIB,
    "<!--" * 50_000,
    "<table><tr><td>" * 10_000,
    "<table><tr>" + "<td>x" * 40_000,
    "<script>" * 25_000,
    "&" * 200 * KIB,
]


@pytest.mark.parametrize("html", HOSTILE, ids=lambda html: html[:12])
async def test_hostile_html_ends_soon(html: str) -> None:
    begun = _work()

    assert isinstance(await markdown.markdown(html), str)
    assert isinstance(await markdown.markdown(html[: markdown.INLINE_CHARS]), str)

    assert _work() - begun < 8, "0.3 s on an idle machine"


def _work() -> float:
    """CPU seconds of this process and of those that it has started and that are over."""
    return sum(os.times()[:4])


async def test_five_megabytes_are_not_converted() -> None:
    with pytest.raises(markdown.NoMarkdown, match="4 MiB"):
        await markdown.markdown("<p>" * (2 * MIB))


async def test_markdown_is_bounded() -> None:
    cells = "<table>" + "<tr><td colspan=1000000 rowspan=100000>x" * 1500

    assert len(await markdown.markdown(cells)) <= markdown.MAX_CHARS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        (" a  b ", "a b"),
        ("a\n\n\n b\t\tc\r\nd", "a\nb c\nd"),
        ("a\u00a0\u2003b\u200b\ufeff", "a b"),
        ("\n \n", ""),
        ("a\u2028b", "a b"),
    ],
)
def test_clean_text(text: str, expected: str) -> None:
    assert cleaned(text, max_chars=1000) == expected


def test_clean_text_is_cut() -> None:
    assert cleaned("abc  def", max_chars=4) == "abc"


ROBOTS = """
User-agent: *
Disallow: /private
Allow: /private/open

User-agent: BROWSA
Disallow: /ours
Disallow: /*.pdf$
"""


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/", True), ("/private", True), ("/ours", False), ("/ours/x", False), ("/a.pdf", False), ("/a.pdf?x", True)],
)
def test_our_own_group_of_robots_txt_holds(path: str, allowed: bool) -> None:
    assert (Robots.found(200, ROBOTS).refusal(f"http://a.test{path}") is None) is allowed


@pytest.mark.parametrize(("path", "allowed"), [("/", True), ("/private/x", False), ("/private/open/x", True)])
def test_the_group_for_all_holds_where_none_names_us(path: str, allowed: bool) -> None:
    rules = ROBOTS.replace("BROWSA", "Other")

    assert (Robots.found(200, rules).refusal(f"http://a.test{path}") is None) is allowed


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 429])
def test_a_site_without_robots_txt_allows_all(status: int) -> None:
    assert Robots.found(status, "User-agent: *\nDisallow: /").refusal("http://a.test/") is None


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_site_in_trouble_allows_nothing(status: int) -> None:
    assert str(status) in (Robots.found(status, "").refusal("http://a.test/") or "")
    assert "why" in (Robots.unreachable("why").refusal("http://a.test/") or "")


@pytest.mark.parametrize("text", ["", "<!doctype html><p>not found", "\x00\ufeff", "Disallow: /", "User-agent\n:\n"])
def test_text_that_is_not_robots_txt_forbids_nothing(text: str) -> None:
    assert Robots.found(200, text).refusal("http://a.test/") is None


def test_where_robots_txt_is() -> None:
    assert address(("https", "a.test", 443)) == "https://a.test/robots.txt"
    assert address(("http", "a.test", 8080)) == "http://a.test:8080/robots.txt"
    assert address(("http", "::1", 80)) == "http://[::1]/robots.txt"


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        {"$defs": {"a": {"type": "number"}}, "properties": {"b": {"$ref": "#/$defs/a"}}},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "array", "prefixItems": [{}]},
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": "array", "items": [{}]},
        {"enum": list(range(500))},
    ],
)
def test_json_schemas(schema: dict[str, Any]) -> None:
    json_schemas.check(schema)


def test_no_schema_takes_long_to_check() -> None:
    mixed = [1, "a", None, [], {}] * 90

    def refused() -> None:
        with pytest.raises(ValueError, match="not a JSON Schema"):
            json_schemas.check({"allOf": [{"required": mixed} for _ in range(4)]})

    assert cpu_seconds(refused) < 5
