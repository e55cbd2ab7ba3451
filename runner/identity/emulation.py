"""An identity (operating system, place, Chrome version), and the CDP commands that set it.

An identity uses only Chromium's own emulation: Chromium reports these values in headers, in every frame and in every
worker. No script is injected into pages. No I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from runner.identity.places import PLACES, Place
from runner.wire import OsFamily


class Command(NamedTuple):
    method: str
    params: dict[str, Any]


WINDOW_BARS = 87  # CSS pixels of Chrome's own tab strip and toolbar


class Size(NamedTuple):
    """CSS pixels."""

    width: int
    height: int


class Screen(NamedTuple):
    """CSS pixels. `top` and `bottom` are the heights of the desktop's bars."""

    width: int
    height: int
    top: int
    bottom: int

    @property
    def viewport(self) -> Size:
        """The viewport of a page in a maximised window."""
        return Size(self.width, self.height - self.top - self.bottom - WINDOW_BARS)


class Family(NamedTuple):
    """How Chrome describes itself on one operating system."""

    user_agent_os: str
    platform: str
    hint_platform: str
    hint_version: str
    architecture: str
    screen: Screen


# The user agent has a fixed operating system version (User-Agent Reduction); client hints have the real one.
FAMILIES: dict[OsFamily, Family] = {
    "macos": Family(
        "Macintosh; Intel Mac OS X 10_15_7", "MacIntel", "macOS", "15.6.1", "arm", Screen(1512, 982, 33, 0)
    ),
    "windows": Family("Windows NT 10.0; Win64; x64", "Win32", "Windows", "19.0.0", "x86", Screen(1920, 1080, 0, 48)),
    "linux": Family("X11; Linux x86_64", "Linux x86_64", "Linux", "", "x86", Screen(1920, 1080, 27, 0)),
}
NATIVE_PLATFORM = FAMILIES["linux"].platform  # what Chromium reports without an override
NATIVE_LOCALE = "en-US"  # with `--lang`
DEFAULT_FAMILY: OsFamily = "macos"
SHELL_SCREEN = FAMILIES[DEFAULT_FAMILY].screen  # set by the flags of the headless shells

# Target types that run script and have an Emulation domain; the others inherit from their frame.
PAGES = frozenset({"page", "iframe", "webview", "tab", "background_page"})
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


# The `Sec-CH-UA` brand list, with the same GREASE as in Chromium.
#
# Source: Chromium, components/embedder_support/user_agent_utils.cc (`GetGreasedUserAgentBrandVersion`,
# `ShuffleBrandList`). Order, punctuation and fake version depend only on the major version, so a site can recognize any
# other list as forged.
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
