"""An identity (operating system, place, Chrome version), and the CDP commands that set it.

An identity uses only Chromium's own emulation: Chromium reports these values in headers, in every frame and in every
worker. No script is injected into pages. No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from fingerprints.brands import Brand as Brand
from fingerprints.brands import brand_list
from fingerprints.families import DEFAULT_FAMILY as DEFAULT_FAMILY
from fingerprints.families import FAMILIES as FAMILIES
from fingerprints.families import Family, OsFamily
from fingerprints.families import Screen as Screen
from fingerprints.families import Size as Size
from fingerprints.places import PLACES, Place


class Command(NamedTuple):
    method: str
    params: dict[str, Any]


NATIVE_PLATFORM = FAMILIES["linux"].platform  # what Chromium reports without an override
NATIVE_LOCALE = "en-US"  # with `--lang`
SHELL_SCREEN = FAMILIES[DEFAULT_FAMILY].screen  # set by the flags of the headless shells

# Target types that run script and have an Emulation domain; others inherit from their frame. Hidden pages are "other".
PAGES = frozenset({"page", "iframe", "webview", "tab", "background_page", "other"})
WORKERS = frozenset({"worker", "shared_worker", "service_worker"})


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


def target_commands(identity: Identity, target_type: str) -> list[Command]:
    """The commands for a new target of `target_type`, to send before its first script runs."""
    if target_type in WORKERS:
        override = user_agent_override(identity)
        return [Command("Network.setUserAgentOverride", override.params)]
    if target_type not in PAGES:
        return []
    return [user_agent_override(identity), *place_commands(identity.place)]


def place_commands(place: Place) -> list[Command]:
    """The commands that set a page's time zone and locale."""
    return [
        Command("Emulation.setTimezoneOverride", {"timezoneId": place.timezone}),
        Command("Emulation.setLocaleOverride", {"locale": place.locale.replace("-", "_")}),
    ]


def platform_override(identity: Identity) -> Command:
    """Set only `navigator.platform`; an empty user agent keeps the one that another session has set."""
    return Command("Emulation.setUserAgentOverride", {"userAgent": "", "platform": identity.family.platform})


def screen_commands(identity: Identity, screen_id: str) -> list[Command]:
    """The commands that set the browser's screen."""
    screen = identity.family.screen
    return [
        Command(
            "Emulation.updateScreen",
            {
                "screenId": screen_id,
                "left": 0,
                "top": 0,
                "width": screen.width,
                "height": screen.height,
                "workAreaInsets": {"top": screen.top, "bottom": screen.bottom, "left": 0, "right": 0},
            },
        )
    ]


def window_bounds(identity: Identity) -> dict[str, int]:
    """A maximised window on this identity's screen."""
    screen = identity.family.screen
    return {
        "left": 0,
        "top": screen.top,
        "width": screen.width,
        "height": screen.height - screen.top - screen.bottom,
    }
