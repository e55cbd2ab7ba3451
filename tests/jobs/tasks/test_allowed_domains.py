"""Which pages a task may be on, as a table."""

from __future__ import annotations

import pytest

from apps.jobs.tasks.allowed_domains import AllowedDomains, check_pattern


@pytest.mark.parametrize(
    ("pattern", "url", "permitted"),
    [
        ("example.com", "https://example.com/a", True),
        ("example.com", "http://example.com:8080/", True),
        ("example.com", "https://www.example.com/", True),
        ("example.com", "https://EXAMPLE.com/", True),
        ("example.com", "https://example.com./", True),
        ("example.com", "https://a.example.com/", False),
        ("example.com", "https://example.com.evil.test/", False),
        ("example.com", "https://evilexample.com/", False),
        ("example.com", "https://evil.test/?example.com", False),
        ("example.com", "https://example.com@evil.test/", False),
        ("*.example.com", "https://a.b.example.com/", True),
        ("*.example.com", "https://example.com/", True),
        ("*.example.com", "https://evilexample.com/", False),
        ("127.0.0.1", "http://127.0.0.1:3000/", True),
        ("127.0.0.1", "http://localhost:3000/", False),
        ("example.com", "about:blank", True),
        ("example.com", "", True),
        ("example.com", "file:///etc/passwd", False),
        ("example.com", "data:text/html,hi", False),
        ("example.com", "javascript:alert(1)", False),
        ("example.com", "chrome://settings", False),
        ("example.com", "ftp://example.com/", False),
        ("example.com", "http://[bad", False),
    ],
)
def test_which_page_is_inside(pattern: str, url: str, permitted: bool) -> None:
    assert AllowedDomains.of([check_pattern(pattern)]).permits(url) is permitted


def test_without_a_list_every_page_is() -> None:
    assert AllowedDomains().permits("https://anywhere.test/")
    assert not AllowedDomains.of(["a.test", "b.test"]).permits("https://c.test/")
    assert AllowedDomains.of(["a.test", "b.test"]).permits("https://b.test/")


@pytest.mark.parametrize(
    ("pattern", "plain"),
    [("Example.COM", "example.com"), ("*.Example.com.", "*.example.com"), ("münchen.de", "xn--mnchen-3ya.de")],
)
def test_patterns_are_made_plain(pattern: str, plain: str) -> None:
    assert check_pattern(pattern) == plain


@pytest.mark.parametrize(
    "pattern", ["", "*", "*.", "https://example.com", "a b", "a..b", "*.*.com", "a/b", "a:80", "?"]
)
def test_an_invalid_host_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="must be a host"):
        check_pattern(pattern)
