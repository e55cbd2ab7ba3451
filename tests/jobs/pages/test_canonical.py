"""Which spellings of an address are one, and which globs choose it."""

from __future__ import annotations

import pytest

from apps.jobs.pages.canonical import canonical, origin
from apps.jobs.pages.globs import Glob
from tests.patience import cpu_seconds


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTP://ExAmple.COM/a", "http://example.com/a"),
        ("http://example.com", "http://example.com/"),
        ("http://example.com?x=1", "http://example.com/?x=1"),
        ("http://example.com:80/", "http://example.com/"),
        ("https://example.com:443/", "https://example.com/"),
        ("https://example.com:80/", "https://example.com:80/"),
        ("http://example.com/a#b", "http://example.com/a"),
        ("http://example.com/a?", "http://example.com/a"),
        ("http://example.com/a/../b/./c", "http://example.com/b/c"),
        ("http://example.com/../../x", "http://example.com/x"),
        ("http://example.com/%7euser", "http://example.com/~user"),
        ("http://example.com/%2f%c3%a9", "http://example.com/%2F%C3%A9"),
        ("http://example.com/é", "http://example.com/%C3%A9"),
        ("http://example.com/%", "http://example.com/%25"),
        ("http://example.com/a b", "http://example.com/a%20b"),
        ("http://example.com/a/", "http://example.com/a/"),
        ("http://example.com/A", "http://example.com/A"),
        ("http://example.com/a//b", "http://example.com/a//b"),
        ("http://example.com/?b=2&a=1", "http://example.com/?b=2&a=1"),
        ("http://example.com/?a=%26&b=+", "http://example.com/?a=%26&b=+"),
        ("http://пример.рф/путь", "http://xn--e1afmkfd.xn--p1ai/%D0%BF%D1%83%D1%82%D1%8C"),
        ("http://faß.de/", "http://xn--fa-hia.de/"),
        ("http://[::1]:80/", "http://[::1]/"),
        ("  http://example.com/\n", "http://example.com/"),
    ],
)
def test_one_spelling_for_each_address(url: str, expected: str) -> None:
    assert canonical(url) == expected
    assert canonical(expected) == expected


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("../x", "http://example.com/x"),
        ("x", "http://example.com/p/x"),
        ("?q=1", "http://example.com/p/q?q=1"),
        ("#f", "http://example.com/p/q?z"),
        ("//other.com/x", "http://other.com/x"),
        ("/a b", "http://example.com/a%20b"),
    ],
)
def test_a_link_is_read_from_its_page(link: str, expected: str) -> None:
    assert canonical(link, base="http://example.com/p/q?z") == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "//x",
        "javascript:alert(1)",
        "mailto:a@b.c",
        "file:///etc/passwd",
        "data:text/html,x",
        "ftp://a/",
        "http://u:p@a/",
        "http://a:99999/",
        "http://[::1",
        "http://a\\b/",
        "http://",
        "http://" + "a" * 3000,
    ],
)
def test_an_invalid_web_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical(url)


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("http://example.com/x") == ("http", "example.com", 80)
    assert origin("https://example.com:8443/x") == ("https", "example.com", 8443)


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("/blog/*", "http://a.com/blog/x/y?z", "http://a.com/news/x"),
        ("/blog/*", "http://a.com/blog/", "http://a.com/blog"),
        ("/blog", "http://a.com/blog?page=2", "http://a.com/blog/x"),
        ("blog/*", "http://a.com/blog/x", "http://a.com/x/blog/y"),
        ("*/blog/*", "http://a.com/x/blog/y", "http://a.com/x/blogs"),
        ("**/x", "http://a.com/a/b/x", "http://a.com/a/b/xx"),
        ("*page=*", "http://a.com/l?page=2", "http://a.com/l"),
        ("/p?", "http://a.com/p1", "http://a.com/p12"),
        ("/l?a=1", "http://a.com/l?a=1", "http://a.com/l"),
        ("/[a-c]x", "http://a.com/bx", "http://a.com/dx"),
        ("/[!a-c]x", "http://a.com/dx", "http://a.com/ax"),
        ("/[]]", "http://a.com/]", "http://a.com/["),
        ("https://a.com/*", "https://a.com/x", "http://a.com/x"),
        ("*://b.com/*", "http://b.com/x", "http://a.com/x"),
        ("/путь/*", "http://a.com/%D0%BF%D1%83%D1%82%D1%8C/x", "http://a.com/x"),
        ("/A", "http://a.com/A", "http://a.com/a"),
        ("/[^a]", "http://a.com/^", "http://a.com/b"),
        ("/[a-b-z]", "http://a.com/-", "http://a.com/y"),
        ("/(a|b).c", "http://a.com/(a|b).c", "http://a.com/axc"),
        ("*", "http://a.com/", "-"),
    ],
)
def test_globs(pattern: str, matching: str, other: str) -> None:
    glob = Glob.parse(pattern)

    assert glob.matches(matching)
    assert other == "-" or not glob.matches(other)


@pytest.mark.parametrize(
    "pattern", ["", "[", "/a[b", "/[!]", "/[+-!]", "[a][", "/[z-a]", "{a,b}", "a\\b", "a b", "a\n", "x" * 201]
)
def test_a_bad_glob_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Glob.parse(pattern)


@pytest.mark.parametrize(
    "pattern", ["*" + "a*" * 99 + "c", "*" + "a" * 198 + "c", "*" + "?" * 198 + "c", "*" + "[!b]" * 49 + "c"]
)
def test_no_glob_takes_long(pattern: str) -> None:
    glob = Glob.parse(pattern[:200])

    def look() -> None:
        for _ in range(100):
            assert not glob.matches("http://x/" + "a" * 2000)

    assert cpu_seconds(look) < 0.5
