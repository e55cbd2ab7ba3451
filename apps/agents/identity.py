"""The OS types of agents, and their trust scores. Pure."""

from __future__ import annotations

from runner.wire import OsFamily

DEFAULT_OS_TYPE = "OS_TYPE_MACOS"

FAMILIES: dict[str, OsFamily] = {
    "OS_TYPE_MACOS": "macos",
    "OS_TYPE_WINDOWS": "windows",
    "OS_TYPE_LINUX": "linux",
}

# Scores are not measured yet. Each family has a constant in the specification's "Undetected" band (850 and more).
# Desktop Linux is rare, so detectors suspect it more.
TRUST_SCORES: dict[OsFamily, int] = {"macos": 920, "windows": 905, "linux": 870}


def trust_score(os_type: str) -> int:
    return TRUST_SCORES[FAMILIES[os_type]]
