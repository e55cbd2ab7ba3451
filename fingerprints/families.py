"""The operating system families, and how Chrome describes itself on each."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

OsFamily = Literal["macos", "windows", "linux"]
OS_FAMILIES: tuple[OsFamily, ...] = get_args(OsFamily)

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

DEFAULT_FAMILY: OsFamily = "macos"
