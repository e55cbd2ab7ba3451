"""The `Sec-CH-UA` brand list, with the same GREASE as in Chromium.

Source: Chromium, components/embedder_support/user_agent_utils.cc (`GetGreasedUserAgentBrandVersion`,
`ShuffleBrandList`). Order, punctuation and fake version depend only on the major version, so a site can recognize any
other list as forged.
"""

from __future__ import annotations

from typing import NamedTuple

_ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
_PUNCTUATION = (" ", "(", ":", "-", ".", "/", ")", ";", "=", "?", "_")
_FAKE_VERSIONS = ("8", "99", "24")


class Brand(NamedTuple):
    brand: str
    version: str


def brand_list(version: str, *, full: bool = False) -> list[Brand]:
    """Brands of Chrome `version` ("156.0.8078.79"), with major versions or, if `full`, complete ones."""
    major = int(version.partition(".")[0])
    fake = _FAKE_VERSIONS[major % len(_FAKE_VERSIONS)]
    left, right = (_PUNCTUATION[(major + i) % len(_PUNCTUATION)] for i in (0, 1))
    shown = version if full else str(major)
    plain = (
        Brand(f"Not{left}A{right}Brand", f"{fake}.0.0.0" if full else fake),
        Brand("Chromium", shown),
        Brand("Google Chrome", shown),
    )
    brands = list(plain)
    for place, brand in zip(_ORDERS[major % len(_ORDERS)], plain, strict=True):
        brands[place] = brand
    return brands
