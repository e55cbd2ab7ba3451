"""Which URLs a caller may have requests sent to, by their form."""

from __future__ import annotations

import pytest

from addresses.policy import parse_allow_list
from apps.core.outgoing.urls import BadUrl, check, parse

LOOPBACK = parse_allow_list("127.0.0.1,[::1]:8080")


@pytest.mark.parametrize(
    ("text", "host_header", "target"),
    [
        ("https://example.com", "example.com", "/"),
        ("http://example.com:80/", "example.com", "/"),
        ("https://example.com:8443/a?b=c", "example.com:8443", "/a?b=c"),
        ("HTTPS://EXAMPLE.com./A", "example.com", "/A"),
        ("https://example.com/a#fragment", "example.com", "/a"),
        ("https://münchen.example/ü?ß=1", "xn--mnchen-3ya.example", "/%C3%BC?%C3%9F=1"),
        ("https://example.com/a%20b", "example.com", "/a%20b"),
        ("https://example.com/%", "example.com", "/%"),
        ("https://8.8.8.8/", "8.8.8.8", "/"),
        ("https://[2606:4700::1111]:444/", "[2606:4700::1111]:444", "/"),
        ("https://a_b.example/", "a_b.example", "/"),
        ("https://123.example/", "123.example", "/"),
    ],
)
def test_a_url_is_taken_apart(text: str, host_header: str, target: str) -> None:
    destination = check(text, ())

    assert (destination.host_header, destination.target) == (host_header, target)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com",
        "//example.com",
        "/hook",
        "http:/example.com",
        "http:example.com",
        "http://",
        "http:///hook",
        "ftp://example.com",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "gopher://example.com",
        "unix:///run/x.sock",
        "https://user@example.com",
        "https://user:password@example.com",
        "https://@example.com",
        "https://example.com@127.0.0.1",
        "https://example.com:0",
        "https://example.com:",
        "https://example.com:65536",
        "https://example.com:x",
        "https://exa mple.com",
        "https://example.com/a b",
        "https://example.com/\r\nHost: evil",
        "https://example.com\\@evil.example",
        "https://example.com/\x00",
        " https://example.com",
        "https://exam\u200bple..com",
        "https://-example.com",
        "https://" + "a" * 64 + ".example",
        "https://example.com/" + "a" * 2048,
        "https://[::1",
        "https://[zz::1]/",
        "https://[2606:4700::1%25eth0]/",
        "https://[v1.x]/",
    ],
)
def test_an_invalid_url_is_refused(text: str) -> None:
    with pytest.raises(BadUrl):
        check(text, ())


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "168.63.129.16",
        "[::1]",
        "[::]",
        "[fd00::1]",
        "[fe80::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.1",
        "127.0.0.1.",
        "1.2.3.4.5",
        "example.0x7f",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
    ],
)
def test_what_says_by_itself_that_it_leads_inside_is_refused(host: str) -> None:
    with pytest.raises(BadUrl):
        check(f"http://{host}/hook", ())


def test_the_operator_may_open_an_address() -> None:
    for text in ("http://127.0.0.1:9/", "http://localhost:9/", "http://[::ffff:127.0.0.1]/", "http://[::1]:8080/"):
        assert check(text, LOOPBACK)
    for text in ("http://127.0.0.2/", "http://[::1]/"):
        with pytest.raises(BadUrl):
            check(text, LOOPBACK)


def test_a_name_is_not_resolved_here() -> None:
    assert parse("https://localtest.me/").address is None
