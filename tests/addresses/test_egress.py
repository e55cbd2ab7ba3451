"""The operator's table of countries and upstream proxies."""

from __future__ import annotations

import pytest

from addresses.egress import Upstream, parse_countries


def test_the_first_country_is_the_default() -> None:
    countries = parse_countries('{"de": "http://user:pw@proxy:3128", "us": "direct"}')

    assert list(countries.items()) == [
        ("de", (Upstream("http", "proxy", 3128, "user", "pw"),)),
        ("us", "direct"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"us": "direct"}', "direct"),
        ('{"us": "http://proxy:3128"}', (Upstream("http", "proxy", 3128),)),
        ('{"us": "http://Proxy.Example:3128/"}', (Upstream("http", "proxy.example", 3128),)),
        ('{"us": "http://user:pw@proxy:3128"}', (Upstream("http", "proxy", 3128, "user", "pw"),)),
        ('{"us": "https://user@proxy:443"}', (Upstream("https", "proxy", 443, "user", ""),)),
        ('{"us": "socks5://[2001:db8::1]:1080"}', (Upstream("socks5", "2001:db8::1", 1080),)),
        ('{"us": ["http://a:1"]}', (Upstream("http", "a", 1),)),
        (
            '{"us": ["http://a:1", "https://b:2", "socks5://u:p@c:3"]}',
            (Upstream("http", "a", 1), Upstream("https", "b", 2), Upstream("socks5", "c", 3, "u", "p")),
        ),
        (
            '{"us": ["http://u-1:p@a:1", "http://u-2:p@a:1"]}',
            (Upstream("http", "a", 1, "u-1", "p"), Upstream("http", "a", 1, "u-2", "p")),
        ),
    ],
)
def test_a_country_leaves_directly_or_through_one_or_several_upstreams(text: str, expected: object) -> None:
    assert parse_countries(text) == {"us": expected}


@pytest.mark.parametrize(
    ("login", "expected"),
    [
        ("", None),
        ("user@", ("user", "")),
        ("user:pw@", ("user", "pw")),
        ("p%40t:s%3Ae%2Fc%20%C3%BC@", ("p@t", "s:e/c ü")),
        ("user-session-{session}:pw@", ("user-session-0123456789abcdef", "pw")),
        ("user:pw_session-{session}_life-30m@", ("user", "pw_session-0123456789abcdef_life-30m")),
        ("user-%7Bsession%7D:pw@", ("user-{session}", "pw")),
    ],
)
def test_the_credentials_are_decoded_and_carry_the_session(login: str, expected: tuple[str, str] | None) -> None:
    countries = parse_countries(f'{{"us": "http://{login}proxy:3128"}}')

    (upstream,) = countries["us"]
    assert isinstance(upstream, Upstream)
    assert upstream.login("0123456789abcdef") == expected


def test_the_name_and_the_repr_of_an_upstream_have_no_credentials() -> None:
    upstream = Upstream("socks5", "2001:db8::1", 1080, "user-7c1d", "hunter2")

    assert upstream.name == "socks5://[2001:db8::1]:1080"
    for text in (upstream.name, repr(upstream), str(upstream)):
        assert "user-7c1d" not in text and "hunter2" not in text


@pytest.mark.parametrize(
    "text",
    [
        "us",
        "[]",
        "{}",
        '"us"',
        "null",
        '{"US": "direct"}',
        '{"usa": "direct"}',
        '{"": "direct"}',
        '{"u\u0131": "direct"}',
        '{"us\\n": "direct"}',
        '{"us": ""}',
        '{"us": 1}',
        '{"us": null}',
        '{"us": []}',
        '{"us": {}}',
        '{"us": ["direct"]}',
        '{"us": ["http://proxy:1", "direct"]}',
        '{"us": ["http://proxy:1", null]}',
        '{"us": ["http://proxy:1", "http://proxy:1"]}',
        '{"us": [["http://proxy:1"]]}',
        '{"us": "Direct"}',
        '{"us": "proxy:80"}',
        '{"us": "ftp://proxy:80"}',
        '{"us": "socks5h://proxy:1080"}',
        '{"us": "socks4://proxy:1080"}',
        '{"us": "http://proxy"}',
        '{"us": "http://:3128"}',
        '{"us": "http://proxy:0"}',
        '{"us": "http://proxy:99999"}',
        '{"us": "http://proxy:x"}',
        '{"us": "http://[::1:80"}',
        '{"us": "http://proxy:80/path"}',
        '{"us": "http://proxy:80?session=1"}',
        '{"us": "http://proxy:80#1"}',
        '{"us": "http://user-{country}:pw@proxy:80"}',
        '{"us": "http://user:pw}@proxy:80"}',
        '{"us": "http://us%3Aer:pw@proxy:80"}',
        '{"us": "socks5://:pw@proxy:80"}',
        f'{{"us": "socks5://{"u" * 256}:pw@proxy:80"}}',
        f'{{"us": "socks5://{"u" * 250}{{session}}:pw@proxy:80"}}',
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="EGRESS_COUNTRIES"):
        parse_countries(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"us": "ftp://user:hunter2@proxy"}',
        '{"us": "http://user:hunter2@proxy:99999"}',
        '{"us": "http://user:hunter2/x@proxy:80"}',
        '{"us": "http://user:hunter2#x@proxy:80"}',
        '{"us": "http://user:hunter2@proxy:80/hunter2"}',
        '{"us": ["http://proxy:80", "http://user{x}:hunter2@proxy:80"]}',
        '{"us": ["http://user:hunter2@proxy:80", "http://user:hunter2@proxy:80"]}',
    ],
)
def test_an_errors_text_has_no_password(text: str) -> None:
    with pytest.raises(ValueError, match="EGRESS_COUNTRIES") as refused:
        parse_countries(text)

    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_an_error_says_which_url_of_a_list_is_meant() -> None:
    with pytest.raises(ValueError, match=r"EGRESS_COUNTRIES\['us'\], number 2: must be"):
        parse_countries('{"us": ["http://proxy:80", "proxy:80"]}')
