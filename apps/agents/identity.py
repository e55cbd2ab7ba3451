"""The OS types of agents, and how browsers of a country leave."""

from __future__ import annotations

from django.conf import settings

from fingerprints.families import OsFamily

DEFAULT_OS_TYPE = "OS_TYPE_MACOS"

FAMILIES: dict[str, OsFamily] = {
    "OS_TYPE_MACOS": "macos",
    "OS_TYPE_WINDOWS": "windows",
    "OS_TYPE_LINUX": "linux",
}


def proxied(country: str) -> bool:
    """Whether browsers of the country leave through an upstream proxy. False for one that is no longer configured."""
    return bool(settings.EGRESS_COUNTRIES.get(country, "direct") != "direct")
