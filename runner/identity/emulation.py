"""The identity of a page in a headless shell (operating system, place, Chrome version), and the commands that set it.

A shell loads pages of several identities, so each of its pages gets one by Chromium's own emulation. A full Chromium
has a fingerprint instead, from its start, see `runner.identity.launch`. No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from fingerprints.brands import brand_list
from fingerprints.families import DEFAULT_FAMILY, FAMILIES, Family, OsFamily
from fingerprints.places import PLACES, Place


class Command(NamedTuple):
    method: str
    params: dict[str, Any]


NATIVE_PLATFORM = FAMILIES["linux"].platform  # what Chromium reports without an override
NATIVE_LOCALE = "en-US"  # with `--lang`
SHELL_SCREEN = FAMILIES[DEFAULT_FAMILY].screen  # set by the flags of the headless shells


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a browser. `version` is that of the running Chromium ("156.0.8078.79")."""

    os_family: OsFamily
    place: Place
    version: str

    @classmethod
    def of(cls, os_family: OsFamily, country: str, version: str) -> Identity:
        """Raises KeyError for an unknown family or country."""
        if os_family not in FAMILIES:
            raise KeyError(os_family)
        return cls(os_family, PLACES[country], version)

    @property
    def family(self) -> Family:
        return FAMILIES[self.os_family]

    @property
    def user_agent(self) -> str:
        major = self.version.partition(".")[0]
        return (
            f"Mozilla/5.0 ({self.family.user_agent_os}) AppleWebKit/537.36 (KHTML, like Gecko)"
            f" Chrome/{major}.0.0.0 Safari/537.36"
        )

    @property
    def languages(self) -> str:
        """`navigator.languages`: "de-DE,de,en-US,en" and, for English, "en-GB,en"."""
        language = self.place.locale.partition("-")[0]
        own = [self.place.locale, language]
        return ",".join(own if language == "en" else [*own, "en-US", "en"])


def user_agent_override(identity: Identity) -> Command:
    family = identity.family
    return Command(
        "Emulation.setUserAgentOverride",
        {
            "userAgent": identity.user_agent,
            "acceptLanguage": identity.languages,
            "platform": family.platform,
            "userAgentMetadata": {
                "brands": [b._asdict() for b in brand_list(identity.version)],
                "fullVersionList": [b._asdict() for b in brand_list(identity.version, full=True)],
                "fullVersion": identity.version,
                "platform": family.hint_platform,
                "platformVersion": family.hint_version,
                "architecture": family.architecture,
                "bitness": "64",
                "model": "",
                "mobile": False,
                "wow64": False,
                "formFactors": ["Desktop"],
            },
        },
    )


def page_commands(identity: Identity) -> list[Command]:
    """The commands that give a page of a headless shell its identity."""
    return [user_agent_override(identity), *place_commands(identity.place)]


def place_commands(place: Place) -> list[Command]:
    """The commands that set a page's time zone and locale."""
    return [
        Command("Emulation.setTimezoneOverride", {"timezoneId": place.timezone}),
        Command("Emulation.setLocaleOverride", {"locale": place.locale.replace("-", "_")}),
    ]
