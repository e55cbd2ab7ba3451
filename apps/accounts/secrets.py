"""The format of an API key, its hash and its display prefix. Pure."""

from __future__ import annotations

import hashlib
import re
import secrets

PREFIX = "agt_live_"
_SHAPE = re.compile(r"agt_live_[0-9a-f]{32}", re.ASCII)


def new_secret() -> str:
    """`agt_live_` and 128 random bits in hex."""
    return PREFIX + secrets.token_hex(16)


def well_formed(secret: str) -> bool:
    return _SHAPE.fullmatch(secret) is not None


def digest(secret: str) -> str:
    """The hash that is stored. No salt is needed: a search over 128 random bits is impossible."""
    return hashlib.sha256(secret.encode()).hexdigest()


def display_prefix(secret: str) -> str:
    """The part that lists show: `agt_live_` and five digits."""
    return secret[: len(PREFIX) + 5]
