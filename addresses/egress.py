"""The operator's egress table, `EGRESS_COUNTRIES`: the way out of each country's browsers. Standard library only."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

UPSTREAM_SCHEMES = ("http", "socks5")


def parse_countries(text: str) -> dict[str, str]:
    """`{"us": "direct", "de": "http://proxy:3128"}`: ISO code to "direct" or an upstream proxy's URL, the default
    country first. Raises ValueError; its message begins with the setting's name and repeats no URL.
    """
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise ValueError(f"EGRESS_COUNTRIES is not JSON: {error}") from error
    if not isinstance(parsed, dict) or not parsed:
        raise ValueError('EGRESS_COUNTRIES must be an object such as {"us": "direct"}')
    for code, route in parsed.items():
        if not re.fullmatch(r"[a-z]{2}", code):
            raise ValueError(f"EGRESS_COUNTRIES: {code!r} is not a lower-case ISO code of two letters")
        if route != "direct" and not (isinstance(route, str) and _is_upstream(route)):
            # The URL may hold a password, so it is not repeated here.
            raise ValueError(f'EGRESS_COUNTRIES[{code!r}] must be "direct", http://host:port or socks5://host:port')
    return parsed


def _is_upstream(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in UPSTREAM_SCHEMES and bool(parts.hostname) and bool(parts.port)
    except ValueError:  # a port or a bracket that makes no sense
        return False
