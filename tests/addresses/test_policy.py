"""Which addresses may be reached: the edges of every special range, and every way to hide one address in another."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from addresses.policy import (
    REFUSED_V4,
    REFUSED_V6,
    AllowRule,
    is_permitted,
    is_routable,
    parse_address,
    parse_allow_list,
    unmapped,
)

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001:82b::200e"]

# The last address before a range, its first, its last, and the next one after it. None: another special range.
RANGES = [
    (None, "0.0.0.0", "0.255.255.255", "1.0.0.0"),
    ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"),
    ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"),
    ("126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
    ("169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"),
    ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"),
    ("191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"),
    ("192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"),
    ("192.31.195.255", "192.31.196.0", "192.31.196.255", "192.31.197.0"),
    ("192.52.192.255", "192.52.193.0", "192.52.193.255", "192.52.194.0"),
    ("192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"),
    ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"),
    ("192.175.47.255", "192.175.48.0", "192.175.48.255", "192.175.49.0"),
    ("198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"),
    ("198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"),
    ("203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"),
    ("223.255.255.255", "224.0.0.0", "239.255.255.255", None),
    (None, "240.0.0.0", "255.255.255.255", None),
    ("168.63.129.15", "168.63.129.16", "168.63.129.16", "168.63.129.17"),
    (None, "::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"),
    ("2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"),
    (
        "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db8::",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db9::",
    ),
    ("2620:4f:7fff:ffff:ffff:ffff:ffff:ffff", "2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", None),
    ("3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"),
    (None, "4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None),
]

# The metadata addresses of clouds, private addresses and loopback, in every form that hides an IPv4 address.
HIDDEN = [
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",  # SIIT, RFC 7915
    "::127.0.0.1",  # IPv4-compatible, RFC 4291 (deprecated)
    "::10.1.2.3",
    "64:ff9b::127.0.0.1",  # NAT64
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::127.0.0.1",  # local-use NAT64, RFC 8215
    "64:ff9b:1::8.8.8.8",
    "2002:7f00:1::",  # 6to4
    "2002:a9fe:a9fe::1",
    "2002:a00:1::",
    "2002:c0a8:101::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo
    "2001:0:7f00:1::",
    "2606:4700::5efe:127.0.0.1",  # ISATAP
    "2606:4700::200:5efe:10.0.0.1",
    "2606:4700::5efe:a9fe:a9fe",
    "fe80::1",
    "fe80::5efe:192.168.0.1",
    "fec0::1",  # site-local, RFC 3879
    "fc00::1",
    "fd00:ec2::254",  # Amazon's metadata over IPv6
    "fd20:ce::254",  # Google's
    "ff02::1",
    "ff0e::1",
    "100::1",  # discard, RFC 6666
    "100:0:0:1::1",  # RFC 9780
    "5f00::1",  # SRv6, RFC 9602
    "2001:2::1",  # benchmarking
    "2001:10::1",  # ORCHID
    "2001:20::1",  # ORCHIDv2
    "169.254.169.254",
    "100.100.100.200",  # Alibaba's metadata
    "192.0.0.192",  # Oracle's
    "192.0.0.8",
    "192.0.0.170",
    "255.255.255.255",
]


def routable(text: str) -> bool:
    return is_routable(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_reached(text: str) -> None:
    assert routable(text)


@pytest.mark.parametrize(("before", "first", "last", "after"), RANGES, ids=[r[1] for r in RANGES])
def test_a_special_range_is_refused_from_its_first_to_its_last_address(
    before: str | None, first: str, last: str, after: str | None
) -> None:
    assert [routable(text) for text in (first, last)] == [False, False]
    assert [routable(text) for text in (before, after) if text] == [True for text in (before, after) if text]


@pytest.mark.parametrize("text", HIDDEN)
def test_no_form_of_an_inner_address_is_reached(text: str) -> None:
    assert not routable(text)
    assert not is_permitted(ipaddress.ip_address(text), 80, ())


@pytest.mark.parametrize(
    "text", ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2606:4700::5efe:8.8.8.8", "2606:4700::5efe"]
)
def test_a_public_address_in_another_form_is_still_public(text: str) -> None:
    assert routable(text)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(REFUSED_V4), st.data())
def test_nothing_of_a_refused_range_is_reached_in_any_form(network: ipaddress.IPv4Network, data: st.DataObject) -> None:
    number = data.draw(st.integers(int(network.network_address), int(network.broadcast_address)))
    forms = [
        ipaddress.IPv4Address(number),
        ipaddress.IPv6Address(0xFFFF << 32 | number),
        ipaddress.IPv6Address(number),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | number),
        ipaddress.IPv6Address(0x2002 << 112 | number << 80 | data.draw(st.integers(0, 2**80 - 1))),
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("2606:4700::5efe:0:0")) | number),
    ]

    assert [str(form) for form in forms if is_routable(form)] == []


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**128 - 1))
def test_of_ipv6_only_global_unicast_and_wrapped_ipv4_is_reached(number: int) -> None:
    address = ipaddress.IPv6Address(number)
    wrapped = address.ipv4_mapped or address in ipaddress.IPv6Network("64:ff9b::/96")

    if is_routable(address) and not wrapped:
        assert number >> 125 == 1
        assert not any(address in network for network in REFUSED_V6)


@pytest.mark.parametrize(
    "spelling",
    ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.1", "017700000001", "0"],
)
def test_the_spellings_that_a_resolver_takes_for_loopback_are_refused(spelling: str) -> None:
    found = {info[4][0] for info in socket.getaddrinfo(spelling, None, type=socket.SOCK_STREAM)}

    assert found
    assert not [text for text in found if routable(str(text))]


@pytest.mark.parametrize("spelling", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "example.org", "", "[", "::g"])
def test_other_spellings_are_left_to_the_resolver(spelling: str) -> None:
    assert parse_address(spelling) is None


@pytest.mark.parametrize(
    ("spelling", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25lo]", "fe80::1"),
        ("::FFFF:1.2.3.4", "::ffff:1.2.3.4"),
    ],
)
def test_an_address_is_read_without_brackets_and_zone(spelling: str, address: str) -> None:
    assert parse_address(spelling) == ipaddress.ip_address(address)


def test_a_mapped_address_is_the_ipv4_address_that_the_kernel_dials() -> None:
    assert unmapped(ipaddress.ip_address("::ffff:1.2.3.4")) == ipaddress.ip_address("1.2.3.4")
    assert unmapped(ipaddress.ip_address("2606:4700::1")) == ipaddress.ip_address("2606:4700::1")


@pytest.mark.parametrize(
    ("rule", "allowed", "refused"),
    [
        (
            "127.0.0.1:8000",
            [("127.0.0.1", 8000), ("::ffff:127.0.0.1", 8000)],
            [("127.0.0.1", 8001), ("127.0.0.2", 8000)],
        ),
        ("10.0.0.0/8", [("10.9.8.7", 1), ("10.0.0.0", 65535)], [("11.0.0.1", 0), ("192.168.0.1", 80)][1:]),
        ("10.0.0.0/30:443", [("10.0.0.3", 443)], [("10.0.0.4", 443), ("10.0.0.3", 80)]),
        ("[::1]:8000", [("::1", 8000)], [("::1", 80), ("127.0.0.1", 8000)]),
        ("[fd00::/8]:80", [("fd12::1", 80)], [("fd12::1", 81), ("fc00::1", 80)]),
        ("fd00::/8", [("fd12::1", 80), ("fd12::1", 81)], [("fc00::1", 80)]),
        ("::1", [("::1", 1)], [("::2", 1)]),
        (" 127.0.0.1:80 , 10.0.0.1 ,, ", [("127.0.0.1", 80), ("10.0.0.1", 9)], [("127.0.0.1", 81)]),
        ("", [("8.8.8.8", 53)], [("127.0.0.1", 80)]),
    ],
)
def test_an_operators_rule_opens_what_it_says_and_no_more(
    rule: str, allowed: list[tuple[str, int]], refused: list[tuple[str, int]]
) -> None:
    rules = parse_allow_list(rule)

    assert [is_permitted(ipaddress.ip_address(host), port, rules) for host, port in allowed] == [True] * len(allowed)
    assert [is_permitted(ipaddress.ip_address(host), port, rules) for host, port in refused] == [False] * len(refused)


@pytest.mark.parametrize(
    "rule",
    [
        "localhost",
        "10.0.0.1/8",  # host bits: a slip that would open more than was meant
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:http",
        "127.0.0.1:",
        "127.0.0.1:-1",
        "127.0.0.1:٣",
        "[::1",
        "[::1]8000",
        "[::1]:",
        "[::1]x",
        "300.0.0.1",
        "fd00::/129",
        "*",
    ],
)
def test_an_invalid_rule_is_an_error(rule: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_allow_list(rule)


def test_a_rule_without_a_port_is_for_every_port() -> None:
    assert parse_allow_list("10.0.0.0/8") == (AllowRule(ipaddress.ip_network("10.0.0.0/8")),)
