"""The addresses that a browser, webhook or LLM call may reach: globally routable ones and the operator's additions.

Python's `ipaddress.is_global` differs between versions and was wrong for several ranges (CVE-2024-4032), so this
module has its own table. Sources: the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and its updates),
read 2026-11. It contains every range that is not "Globally Reachable: True", and multicast (RFC 5771, RFC 4291).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

REFUSED_V4 = tuple(
    IPv4Network(cidr)
    for cidr in (
        "0.0.0.0/8",  # "this network", RFC 791
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # carrier-grade NAT, RFC 6598; some clouds' metadata lives here
        "127.0.0.0/8",  # loopback, RFC 1122
        "169.254.0.0/16",  # link-local, RFC 3927; cloud metadata
        "172.16.0.0/12",  # private, RFC 1918
        "192.0.0.0/24",  # IETF protocol assignments, RFC 6890
        "192.0.2.0/24",  # documentation, RFC 5737
        "192.31.196.0/24",  # AS112, RFC 7535: reachable, but never a site
        "192.52.193.0/24",  # AMT, RFC 7450
        "192.88.99.0/24",  # 6to4 relay anycast, RFC 7526 (deprecated)
        "192.168.0.0/16",  # private, RFC 1918
        "192.175.48.0/24",  # AS112, RFC 7534
        "198.18.0.0/15",  # benchmarking, RFC 2544
        "198.51.100.0/24",  # documentation, RFC 5737
        "203.0.113.0/24",  # documentation, RFC 5737
        "224.0.0.0/4",  # multicast, RFC 5771
        "240.0.0.0/4",  # reserved, RFC 1112, and limited broadcast
        "168.63.129.16/32",  # Azure's host agent: a public number that reaches the hypervisor
    )
)

# Only 2000::/3 is global unicast (RFC 4291); of that, these are not sites.
GLOBAL_V6 = IPv6Network("2000::/3")
REFUSED_V6 = tuple(
    IPv6Network(cidr)
    for cidr in (
        "2001::/23",  # IETF protocol assignments, RFC 2928: Teredo, ORCHID, benchmarking, AMT
        "2001:db8::/32",  # documentation, RFC 3849
        "2620:4f:8000::/48",  # AS112, RFC 7534
        "3fff::/20",  # documentation, RFC 9637
    )
)

_V4_MAPPED = IPv6Network("::ffff:0:0/96")  # RFC 4291
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
_SIX_TO_FOUR = IPv6Network("2002::/16")  # RFC 3056
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214: interface identifiers that end in an IPv4 address


# Names that never belong to a public site: RFC 6761, 6762 (with its appendix G) and 8375, and ICANN's `internal`.
LOCAL_DOMAINS = frozenset({"localhost", "local", "internal", "intranet", "private", "corp", "home", "lan", "home.arpa"})
_HOST_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class AllowRule:
    """An operator's exception: every address in `network`, on `port` or, when None, on any port."""

    network: Network
    port: int | None = None

    def permits(self, address: Address, port: int) -> bool:
        return address in self.network and self.port in (None, port)


def parse_allow_list(raw: str) -> tuple[AllowRule, ...]:
    """`CIDR` or `CIDR:port`, separated by commas; IPv6 with a port as `[CIDR]:port`. Raises ValueError."""
    return tuple(_parse_rule(item.strip()) for item in raw.split(",") if item.strip())


def _parse_rule(item: str) -> AllowRule:
    if item.startswith("["):
        network, colon, port = item[1:].partition("]:")
        if not colon:
            network = item[1:-1] if item.endswith("]") else item
    elif item.count(":") > 1:
        network, colon, port = item, "", ""
    else:
        network, colon, port = item.partition(":")
    # A colon without a port is a mistake and must not permit every port.
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{item!r}: the port must be 1 to 65535")
    return AllowRule(ip_network(network), int(port) if colon else None)


def is_routable(address: Address) -> bool:
    """True for a globally routable unicast address. An IPv4 address inside an IPv6 address is checked itself."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in REFUSED_V4)
    if any(address in network for network in (_V4_MAPPED, _NAT64)):
        return is_routable(_low_32_bits(address))
    if address not in GLOBAL_V6 or any(address in network for network in REFUSED_V6):
        return False
    if address in _SIX_TO_FOUR:
        return is_routable(IPv4Address((int(address) >> 80) & 0xFFFFFFFF))
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return is_routable(_low_32_bits(address))
    return True


def is_permitted(address: Address, port: int, allow: tuple[AllowRule, ...]) -> bool:
    """True when a connection to `address` and `port` is permitted: routable, or allowed by the operator."""
    plain = unmapped(address)
    return is_routable(plain) or any(rule.permits(plain, port) for rule in allow)


def unmapped(address: Address) -> Address:
    """The IPv4 address in `::ffff:a.b.c.d`, to which the kernel connects over IPv4; any other address unchanged."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_address(host: str) -> Address | None:
    """The address that `host` contains, without its zone; None for a name."""
    try:
        return ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def is_host_name(host: str) -> bool:
    """True for a host name in ASCII that is not an IPv4 address in another notation (WHATWG URL, 3.5)."""
    if len(host) > 253 or not _HOST_NAME.fullmatch(host.lower()):
        return False
    return not _NUMBER.fullmatch(host.lower().rstrip(".").rpartition(".")[2])


def is_public_name(host: str) -> bool:
    """True for a host name that can be of a public site: it has a dot and is not below one of `LOCAL_DOMAINS`."""
    labels = host.lower().rstrip(".").split(".")
    return len(labels) > 1 and labels[-1] not in LOCAL_DOMAINS and ".".join(labels[-2:]) not in LOCAL_DOMAINS


def _low_32_bits(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFFFFFF)
