"""What a caller may choose of a fingerprint, and what is said when the choice can't be given. Pure.

A value of the wrong form is a ValueError. A value that this Chromium can't show, or that contradicts the rest of the
fingerprint, is a warning.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from fingerprints.distributions import PHONES
from fingerprints.families import Size
from fingerprints.places import PLACES, Place

CHOICES: dict[str, tuple[str, ...]] = {
    "webrtc_mode": ("masked", "real", "disabled"),
    "geolocation_mode": ("prompt", "allow", "block"),
    "media_devices_mode": ("masked", "real"),
    "port_scan_protection": ("masked", "real"),
}

# A browser draws every device pixel in software: 5120 by 2880 are 59 MB for each copy of a frame.
MAX_PIXELS = 5120 * 2880
# What desktop operating systems ask of a screen.
MIN_DESKTOP_WIDTH, MIN_DESKTOP_HEIGHT = 800, 600
# The longest way inside one country from its most populous time zone's city is New York to Los Angeles: 3,900 km.
FARTHEST_KILOMETRES = 5_000

MAX_PROFILE = 100


class Position(NamedTuple):
    """Degrees."""

    latitude: float
    longitude: float


def screen_size(text: str) -> Size | None:
    """The size of `"1920x1080"`; None for a phone's name. Raises ValueError."""
    if text in PHONES:
        return None
    found = re.fullmatch(r"([0-9]{1,5})[xX]([0-9]{1,5})", text)
    if found is None or not int(found[1]) or not int(found[2]):
        raise ValueError(f'must be WIDTHxHEIGHT like "1920x1080", or {" or ".join(PHONES)}')
    return Size(int(found[1]), int(found[2]))


def position(text: str) -> Position:
    """The position of `"52.52,13.40"`. Raises ValueError."""
    number = r"([+-]?[0-9]{1,3}(?:\.[0-9]{1,15})?)"
    found = re.fullmatch(rf"\s*{number}\s*,\s*{number}\s*", text)
    if found is None or abs(float(found[1])) > 90 or abs(float(found[2])) > 180:
        raise ValueError('must be "latitude,longitude" in degrees, like "52.52,13.40"')
    return Position(float(found[1]), float(found[2]))


def _choice(name: str) -> Callable[[str], object]:
    def check(text: str) -> str:
        if text not in CHOICES[name]:
            raise ValueError(f"must be one of: {', '.join(CHOICES[name])}")
        return text

    return check


def _profile(text: str) -> str:
    if len(text) > MAX_PROFILE:
        raise ValueError(f"must have at most {MAX_PROFILE} characters")
    return text


CHECKS: dict[str, Callable[[str], object]] = {
    "screen_resolution": screen_size,
    **{name: _choice(name) for name in CHOICES},
    "geolocation_data": position,
    "ja3_profile": _profile,
}


def check(overrides: Mapping[str, str]) -> None:
    """Raises ValueError, naming the field, for an unknown override or a value of the wrong form."""
    for name, value in overrides.items():
        if name not in CHECKS:
            raise ValueError(f"{name}: unknown override")
        try:
            CHECKS[name](value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error


def warnings(overrides: Mapping[str, str], country: str) -> list[str]:
    """What of valid overrides is not as asked, each as "field: reason". Raises KeyError for an unknown country."""
    found = [f"{name}: {_NOT_GIVEN[name, value]}" for name, value in overrides.items() if (name, value) in _NOT_GIVEN]
    if overrides.get("ja3_profile"):
        found.append("ja3_profile: is not applied; the TLS handshake is always this Chromium's own")
    if data := overrides.get("geolocation_data"):
        if overrides.get("geolocation_mode") == "block":
            found.append('geolocation_data: has no effect with geolocation_mode "block"')
        elif _kilometres(position(data), PLACES[country]) > FARTHEST_KILOMETRES:
            found.append(f"geolocation_data: is far from the country, whose time zone is {PLACES[country].timezone}")
    found += _screen_warnings(overrides.get("screen_resolution"))
    return found


_NOT_GIVEN = {
    ("webrtc_mode", "real"): "no UDP leaves the browser's jail, so WebRTC finds no address, as with masked",
    ("webrtc_mode", "disabled"): "RTCPeerConnection stays defined, as in every Chrome; it finds no address",
    ("media_devices_mode", "real"): "the machine has no camera and no microphone to show",
    ("port_scan_protection", "real"): "pages never reach the machine's own ports, as with masked",
    ("screen_resolution", "mobile-iphone"): (
        "an iPhone runs WebKit; the engine, its TLS handshake and its APIs stay a desktop Chromium's,"
        " whose window is at least 500 pixels wide"
    ),
    ("screen_resolution", "mobile-android-pixel"): (
        "the phone's user agent, screen and touch replace those of os_type; the rest stays a desktop Chromium's,"
        " whose window is at least 500 pixels wide"
    ),
}


def _screen_warnings(text: str | None) -> list[str]:
    size = screen_size(text) if text else None
    if size is None:
        return []
    if too_large(size):
        return [f"screen_resolution: {text} is not applied; more than 5120x2880 pixels can't be drawn"]
    if size.width < MIN_DESKTOP_WIDTH or size.height < MIN_DESKTOP_HEIGHT:
        return [f"screen_resolution: no desktop computer has a screen of {text}"]
    return []


def too_large(size: Size) -> bool:
    return size.width * size.height > MAX_PIXELS


def _kilometres(one: Position, other: Place) -> float:
    """The great circle between two positions (haversine)."""
    lat1, lng1 = math.radians(one.latitude), math.radians(one.longitude)
    lat2, lng2 = math.radians(other.latitude), math.radians(other.longitude)
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lng2 - lng1) / 2) ** 2
    return 2 * 6371 * math.asin(math.sqrt(half))
