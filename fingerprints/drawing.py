"""Draw a fingerprint. Pure: the same arguments give the same fingerprint in every process and release."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import cast

from fingerprints import overrides as chosen
from fingerprints.brands import brand_list
from fingerprints.distributions import PHONES, TABLES, FamilyTables, Phone, ScreenRow, SystemRow, fraction, pick
from fingerprints.families import FAMILIES, OsFamily, Size
from fingerprints.fingerprint import (
    ClientHints,
    Display,
    Fingerprint,
    Geolocation,
    GeolocationMode,
    MediaDevicesMode,
    WebRtcMode,
)
from fingerprints.places import PLACES, Place

PHONE_TOUCH_POINTS = 5


def draw(
    *, seed: str, os_family: OsFamily, country: str, chromium_version: str, overrides: Mapping[str, str] | None = None
) -> Fingerprint:
    """The fingerprint of a seed on an operating system in a country.

    `chromium_version` is the running one ("156.0.8078.79"); only what says the version depends on it. `overrides` are
    those of `fingerprints.overrides`. Raises KeyError for an unknown family or country, ValueError for an override of
    the wrong form.
    """
    asked = {name: value for name, value in (overrides or {}).items() if value}
    chosen.check(asked)
    tables, place = TABLES[os_family], PLACES[country]
    key = f"{seed}\0{os_family}\0{country}"
    system = pick(key, "system", tables.systems)
    screen = _screen(key, tables, asked.get("screen_resolution", ""))
    cores = pick(key, "cores", [row for row in tables.cores if not screen.cores or row.cores in screen.cores])
    family, major = FAMILIES[os_family], chromium_version.partition(".")[0]
    computer = Fingerprint(
        seed=seed,
        os_family=os_family,
        country=country,
        chromium_version=chromium_version,
        user_agent=f"Mozilla/5.0 ({family.user_agent_os}) AppleWebKit/537.36 (KHTML, like Gecko)"
        f" Chrome/{major}.0.0.0 Safari/537.36",
        platform=family.platform,
        hints=_hints(chromium_version, family.hint_platform, system.version, architecture=family.architecture),
        display=_display(screen, system),
        cores=cores.cores,
        locale=place.locale,
        languages=_languages(place.locale),
        timezone=place.timezone,
        fonts=os_family,
        touch_points=0,
        geolocation=_geolocation(key, place, asked),
        webrtc=cast(WebRtcMode, asked.get("webrtc_mode", "masked")),
        media_devices=cast(MediaDevicesMode, asked.get("media_devices_mode", "masked")),
        warnings=tuple(chosen.warnings(asked, country)),
    )
    phone = PHONES.get(asked.get("screen_resolution", ""))
    return computer if phone is None else _as_phone(computer, phone)


def _screen(key: str, tables: FamilyTables, asked: str) -> ScreenRow:
    """The screen that was asked for, with the scale that most screens of its size have; otherwise one of the tables."""
    size = chosen.screen_size(asked) if asked else None
    if size is None or chosen.too_large(size):
        return pick(key, "screen", tables.screens)
    same = [row for row in tables.screens if Size(row.width, row.height) == size]
    if same:
        return max(same, key=lambda row: row.share)
    external = next(row for row in tables.screens if row.scale == 1)
    return ScreenRow(size.width, size.height, scale=1, share=0, color_depth=external.color_depth)


def _display(screen: ScreenRow, system: SystemRow) -> Display:
    return Display(
        width=screen.width,
        height=screen.height,
        scale=screen.scale,
        color_depth=screen.color_depth,
        physical_width=round(screen.width * screen.scale),
        physical_height=round(screen.height * screen.scale),
        top=system.top if screen.top is None else screen.top,
        bottom=system.bottom,
    )


def _hints(
    version: str, platform: str, platform_version: str, *, architecture: str = "", phone_model: str = ""
) -> ClientHints:
    return ClientHints(
        platform=platform,
        platform_version=platform_version,
        architecture=architecture,
        bitness="64" if architecture else "",
        model=phone_model,
        mobile=bool(phone_model),
        form_factor="Mobile" if phone_model else "Desktop",
        brands=tuple(brand_list(version)),
        full_version_list=tuple(brand_list(version, full=True)),
        full_version=version,
    )


def _languages(locale: str) -> tuple[str, ...]:
    """`navigator.languages`: "de-DE,de,en-US,en" and, for English, "en-GB,en"."""
    language = locale.partition("-")[0]
    return (locale, language) if language == "en" else (locale, language, "en-US", "en")


def _geolocation(key: str, place: Place, asked: Mapping[str, str]) -> Geolocation:
    """The position that was asked for, or one within about five kilometres of the time zone's city."""
    mode = cast(GeolocationMode, asked.get("geolocation_mode", "prompt"))
    if data := asked.get("geolocation_data"):
        return Geolocation(mode, *chosen.position(data))
    north, east = (round((fraction(f"{key}\0{way}") - 0.5) / 10, 4) for way in ("north", "east"))
    return Geolocation(mode, round(place.latitude + north, 4), round(place.longitude + east, 4))


def _as_phone(computer: Fingerprint, phone: Phone) -> Fingerprint:
    """The fingerprint with the phone's screen, touch and user agent. The rest stays a desktop Chromium's."""
    hints = None
    if phone.hint_platform:
        version = computer.chromium_version
        hints = _hints(version, phone.hint_platform, phone.hint_version, phone_model=phone.model)
    major = computer.chromium_version.partition(".")[0]
    values = {
        "user_agent": phone.user_agent.replace("{major}", major),
        "platform": phone.platform,
        "hints": hints,
        "display": Display(
            width=phone.width,
            height=phone.height,
            scale=phone.scale,
            color_depth=phone.color_depth,
            physical_width=phone.physical[0],
            physical_height=phone.physical[1],
            top=0,
            bottom=0,
        ),
        "cores": phone.cores,
        "touch_points": PHONE_TOUCH_POINTS,
    }
    return dataclasses.replace(computer, **values)  # type: ignore[arg-type]
