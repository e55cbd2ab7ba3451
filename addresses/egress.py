"""The operator's egress table, `EGRESS_COUNTRIES`: the route of each country's browsers. Standard library only."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from urllib.parse import urlsplit

UPSTREAM_SCHEMES = ("http", "socks5")


def parse_countries(text: str) -> dict[str, str]:
    """Parses `{"us": "direct", "de": "http://proxy:3128"}`: ISO code to "direct" or the URL of an upstream proxy, the
    default country first. Raises ValueError; its message begins with the setting's name and contains no URL.
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
        upstream = False
        if isinstance(route, str):
            with suppress(ValueError):  # an invalid port or bracket
                parts = urlsplit(route)
                upstream = parts.scheme in UPSTREAM_SCHEMES and bool(parts.hostname) and bool(parts.port)
        if route != "direct" and not upstream:
            # The message must not contain the URL, which may hold a password.
            raise ValueError(f'EGRESS_COUNTRIES[{code!r}] must be "direct", http://host:port or socks5://host:port')
    return parsed
