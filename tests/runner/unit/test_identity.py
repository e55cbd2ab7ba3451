"""Identities: coherent for all families in all countries."""

from __future__ import annotations

import re
import zoneinfo
from typing import get_args

import pytest

from runner.identity.emulation import (
    DEFAULT_FAMILY,
    FAMILIES,
    NATIVE_PLATFORM,
    PAGES,
    WORKERS,
    Identity,
    brand_list,
    platform_override,
    screen_commands,
    target_commands,
    user_agent_override,
    window_bounds,
)
from runner.identity.places import PLACES
from runner.wire import OsFamily

VERSION = "156.0.8078.79"


@pytest.mark.parametrize("family", get_args(OsFamily))
def test_every_identity_says_the_same_thing_everywhere(family: OsFamily) -> None:
    for country in PLACES:
        says_the_same_everywhere(family, country)


def says_the_same_everywhere(family: OsFamily, country: str) -> None:
    identity = Identity.of(family, country, VERSION)
    params = user_agent_override(identity).params
    hints = params["userAgentMetadata"]
    marks = {
        "macos": ("Macintosh", "MacIntel", "macOS"),
        "windows": ("Windows NT 10.0", "Win32", "Windows"),
        "linux": ("X11; Linux x86_64", "Linux x86_64", "Linux"),
    }[family]

    assert marks[0] in params["userAgent"]
    assert (params["platform"], hints["platform"]) == marks[1:]
    assert "Chrome/156.0.0.0" in params["userAgent"]
    assert "Headless" not in str(params)
    assert {"brand": "Google Chrome", "version": "156"} in hints["brands"]
    assert {"brand": "Google Chrome", "version": VERSION} in hints["fullVersionList"]
    assert [b["brand"] for b in hints["brands"]] == [b["brand"] for b in hints["fullVersionList"]]
    assert params["acceptLanguage"].startswith(PLACES[country].locale)


def test_every_country_has_a_zone_and_a_locale_that_exist() -> None:
    zones = zoneinfo.available_timezones()

    for country, place in PLACES.items():
        assert re.fullmatch("[a-z]{2}", country)
        assert place.timezone in zones
        assert re.fullmatch(f"[a-z]{{2,3}}-{country.upper()}", place.locale)


@pytest.mark.parametrize(
    ("country", "languages"),
    [("us", "en-US,en"), ("gb", "en-GB,en"), ("de", "de-DE,de,en-US,en"), ("br", "pt-BR,pt,en-US,en")],
)
def test_languages_are_those_that_a_browser_of_the_country_is_set_to(country: str, languages: str) -> None:
    assert Identity.of("macos", country, VERSION).languages == languages


# What Chromium itself sends, from `navigator.userAgentData.brands` of its releases.
@pytest.mark.parametrize(
    ("version", "brands"),
    [
        ("120.0.1.2", [("Not_A Brand", "8"), ("Chromium", "120"), ("Google Chrome", "120")]),
        ("124.0.1.2", [("Chromium", "124"), ("Google Chrome", "124"), ("Not-A.Brand", "99")]),
        ("131.0.1.2", [("Google Chrome", "131"), ("Chromium", "131"), ("Not_A Brand", "24")]),
    ],
)
def test_the_brand_list_is_greased_as_chromium_greases_it(version: str, brands: list[tuple[str, str]]) -> None:
    assert [tuple(brand) for brand in brand_list(version)] == brands


def test_every_version_has_three_brands_one_of_them_made_up() -> None:
    for major in range(100, 220):
        names = [brand.brand for brand in brand_list(f"{major}.0.0.1")]

        assert {"Chromium", "Google Chrome"} < set(names), major
        assert len(set(names)) == 3, major


@pytest.mark.parametrize("kind", sorted(PAGES | WORKERS))
def test_what_runs_script_gets_the_user_agent_before_anything_else(kind: str) -> None:
    commands = target_commands(Identity.of("windows", "de", VERSION), kind)

    assert commands[0].method.endswith("setUserAgentOverride")
    assert commands[0].params["platform"] == "Win32"


@pytest.mark.parametrize("kind", sorted(PAGES))
def test_pages_get_the_countrys_zone_and_locale(kind: str) -> None:
    commands = {c.method: c.params for c in target_commands(Identity.of("windows", "de", VERSION), kind)}

    assert commands["Emulation.setTimezoneOverride"] == {"timezoneId": "Europe/Berlin"}
    assert commands["Emulation.setLocaleOverride"] == {"locale": "de_DE"}


@pytest.mark.parametrize("kind", ["browser", "auction_worklet"])
def test_what_runs_no_script_of_a_page_is_left_alone(kind: str) -> None:
    assert target_commands(Identity.of("macos", "us", VERSION), kind) == []


@pytest.mark.parametrize("family", get_args(OsFamily))
def test_a_window_fills_its_screen_but_for_the_desktops_own_bars(family: OsFamily) -> None:
    identity = Identity.of(family, "us", VERSION)
    screen, window = screen_commands(identity, "1")[0].params, window_bounds(identity)
    insets = screen["workAreaInsets"]

    assert window["top"] == insets["top"]
    assert window["height"] == screen["height"] - insets["top"] - insets["bottom"]
    assert (window["left"], window["width"]) == (0, screen["width"])


def test_the_restored_platform_leaves_the_user_agent_that_a_client_chose() -> None:
    assert platform_override(Identity.of("windows", "us", VERSION)).params == {"userAgent": "", "platform": "Win32"}


def test_an_unknown_family_or_country_is_a_key_error() -> None:
    for family, country in (("beos", "us"), ("macos", "xx"), ("macos", "US")):
        with pytest.raises(KeyError):
            Identity.of(family, country, VERSION)  # type: ignore[arg-type]


def test_the_families_are_those_of_the_wire() -> None:
    assert set(FAMILIES) == set(get_args(OsFamily))
    assert DEFAULT_FAMILY in FAMILIES
    assert FAMILIES["linux"].platform == NATIVE_PLATFORM
