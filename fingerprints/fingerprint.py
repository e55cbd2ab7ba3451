"""A fingerprint: all that a browser is made to say of itself. Values only; JSON in both directions.

A fingerprint holds what can be set without injected scripts. It has no `deviceMemory`, no WebGL names and no voices:
Chromium takes these from its machine and has no setting for them. The measured document of a browser shows them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from fingerprints.brands import Brand
from fingerprints.families import OsFamily

WebRtcMode = Literal["masked", "real", "disabled"]
GeolocationMode = Literal["prompt", "allow", "block"]
MediaDevicesMode = Literal["masked", "real"]


@dataclass(frozen=True, slots=True)
class Display:
    """A screen and the browser's window on it.

    `physical_width` and `physical_height` are device pixels; everything else is CSS pixels: `scale` device pixels
    each. `top` and `bottom` are the heights of the desktop's bars; the window fills what they leave.
    """

    width: int
    height: int
    scale: float
    color_depth: int
    physical_width: int
    physical_height: int
    top: int
    bottom: int

    @property
    def window_width(self) -> int:
        return self.width

    @property
    def window_height(self) -> int:
        return self.height - self.top - self.bottom


@dataclass(frozen=True, slots=True)
class ClientHints:
    """The values of `Sec-CH-UA-*` and `navigator.userAgentData`; `platform_version` is empty on Linux."""

    platform: str
    platform_version: str
    architecture: str
    bitness: str
    model: str
    mobile: bool
    form_factor: str
    brands: tuple[Brand, ...]
    full_version_list: tuple[Brand, ...]
    full_version: str


@dataclass(frozen=True, slots=True)
class Geolocation:
    """What a page that asks for the position gets. Degrees; `prompt` gives the position when permission is granted."""

    mode: GeolocationMode
    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`hints` is None where the browser that is shown has no client hints (an iPhone's).

    `platform` is `navigator.platform`, `fonts` the name of a set of fonts, `touch_points` 0 for a browser with a mouse.
    `warnings` name what was asked for and is not as asked, each as "field: reason".
    """

    seed: str
    os_family: OsFamily
    country: str
    chromium_version: str
    user_agent: str
    platform: str
    hints: ClientHints | None
    display: Display
    cores: int
    locale: str
    languages: tuple[str, ...]
    timezone: str
    fonts: str
    touch_points: int
    geolocation: Geolocation
    webrtc: WebRtcMode = "masked"
    media_devices: MediaDevicesMode = "masked"
    warnings: tuple[str, ...] = ()

    @property
    def mobile(self) -> bool:
        return self.touch_points > 0

    @property
    def accept_language(self) -> str:
        """The languages as `--accept-lang` takes them: "de-DE,de,en-US,en"."""
        return ",".join(self.languages)

    def to_dict(self) -> dict[str, Any]:
        """Only what JSON has: lists for tuples, brands as objects."""
        found = dataclasses.asdict(self)
        found["languages"], found["warnings"] = list(self.languages), list(self.warnings)
        if self.hints is not None:
            found["hints"]["brands"] = [brand._asdict() for brand in self.hints.brands]
            found["hints"]["full_version_list"] = [brand._asdict() for brand in self.hints.full_version_list]
        return found

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Fingerprint:
        """The reverse of `to_dict`. Raises ValueError when `data` is not what it makes."""
        try:
            hints = data["hints"]
            if hints is not None:
                lists = {name: tuple(Brand(**one) for one in hints[name]) for name in ("brands", "full_version_list")}
                hints = ClientHints(**{**hints, **lists})
            return cls(
                **{
                    **data,
                    "hints": hints,
                    "display": Display(**data["display"]),
                    "geolocation": Geolocation(**data["geolocation"]),
                    "languages": tuple(data["languages"]),
                    "warnings": tuple(data["warnings"]),
                }
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a fingerprint: {error!r}") from error
