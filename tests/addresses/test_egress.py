"""The operator's table of countries and ways out."""

from __future__ import annotations

import json

import pytest

from addresses.egress import parse_countries


def test_the_first_country_is_the_default() -> None:
    countries = parse_countries('{"de": "http://user:pw@proxy:3128", "us": "direct"}')

    assert list(countries.items()) == [("de", "http://user:pw@proxy:3128"), ("us", "direct")]


@pytest.mark.parametrize(
    "text",
    [
        '{"us": "direct"}',
        '{"de": "http://proxy:3128", "us": "direct"}',
        '{"us": "http://user:pw@proxy:3128"}',
        '{"us": "socks5://[2001:db8::1]:1080"}',
    ],
)
def test_each_country_has_one_way_out(text: str) -> None:
    assert list(parse_countries(text).items()) == list(json.loads(text).items())


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
        '{"us": ["direct"]}',
        '{"us": "Direct"}',
        '{"us": "proxy:80"}',
        '{"us": "ftp://proxy:80"}',
        '{"us": "https://proxy:443"}',
        '{"us": "socks5h://proxy:1080"}',
        '{"us": "socks4://proxy:1080"}',
        '{"us": "http://proxy"}',
        '{"us": "http://:3128"}',
        '{"us": "http://proxy:0"}',
        '{"us": "http://proxy:99999"}',
        '{"us": "http://proxy:x"}',
        '{"us": "http://[::1:80"}',
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="EGRESS_COUNTRIES"):
        parse_countries(text)


def test_a_proxys_password_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="EGRESS_COUNTRIES") as refused:
        parse_countries('{"us": "ftp://user:hunter2@proxy"}')

    assert "hunter2" not in str(refused.value)
