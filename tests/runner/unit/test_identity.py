"""Identities: coherent for all families in all countries."""

from __future__ import annotations

import re
import zoneinfo
from typing import get_args

import pytest

from fingerprints.families import DEFAULT_FAMILY, FAMILIES
from fingerprints.places import PLACES
from runner.identity.emulation import (
    NATIVE_PLATFORM,
    Identity,
    brand_list,
    page_commands,
    user_agent_override,
)
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


def test_a_page_gets_the_countrys_zone_and_locale() -> None:
    commands = {c.method: c.params for c in page_commands(Identity.of("windows", "de", VERSION))}

    assert commands["Emulation.setUserAgentOverride"]["platform"] == "Win32"
    assert commands["Emulation.setTimezoneOverride"] == {"timezoneId": "Europe/Berlin"}
    assert commands["Emulation.setLocaleOverride"] == {"locale": "de_DE"}


def test_an_unknown_family_or_country_is_a_key_error() -> None:
    for family, country in (("beos", "us"), ("macos", "xx"), ("macos", "US")):
        with pytest.raises(KeyError):
            Identity.of(family, country, VERSION)  # type: ignore[arg-type]


def test_the_families_are_those_of_the_wire() -> None:
    assert set(FAMILIES) == set(get_args(OsFamily))
    assert DEFAULT_FAMILY in FAMILIES
    assert FAMILIES["linux"].platform == NATIVE_PLATFORM
