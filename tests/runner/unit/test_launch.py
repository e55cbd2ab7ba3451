"""What a Chromium is started with, and what is left to CDP, for every family in every country."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fingerprints import Fingerprint, draw
from fingerprints.families import OS_FAMILIES, OsFamily
from fingerprints.places import PLACES
from runner.identity.fonts import FONTS_FILE, GENERIC, NAMES, fonts_file
from runner.identity.launch import PREFERENCES, launch_of
from runner.identity.overrides import PAGES, WORKERS, platform_override, target_commands

VERSION = "156.0.8078.79"


def drawn(family: OsFamily = "windows", country: str = "de", seed: str = "1", **overrides: str) -> Fingerprint:
    return draw(seed=seed, os_family=family, country=country, chromium_version=VERSION, overrides=overrides)


def flag(fingerprint: Fingerprint, name: str) -> str:
    (value,) = [word.partition("=")[2] for word in launch_of(fingerprint).flags if word.startswith(f"--{name}=")]
    return value


@pytest.mark.parametrize("family", OS_FAMILIES)
def test_every_country_has_its_language_and_time_zone_from_the_start(family: OsFamily) -> None:
    for country, place in PLACES.items():
        fingerprint = drawn(family, country)
        launch = launch_of(fingerprint)

        assert flag(fingerprint, "lang") == place.locale
        assert flag(fingerprint, "accept-lang").startswith(place.locale)
        assert flag(fingerprint, "user-agent") == fingerprint.user_agent
        assert launch.environment["TZ"] == place.timezone
        assert launch.environment["LANGUAGE"].split(":")[0] == place.locale.replace("-", "_")


@pytest.mark.parametrize("family", OS_FAMILIES)
def test_the_window_fills_the_screen_but_for_the_desktops_bars(family: OsFamily) -> None:
    for seed in map(str, range(50)):
        fingerprint = drawn(family, seed=seed)
        display = fingerprint.display
        screen = re.fullmatch(
            r"\{(\d+)x(\d+) devicePixelRatio=([\d.]+) colorDepth=(\d+) workAreaTop=(\d+) workAreaBottom=(\d+)\}",
            flag(fingerprint, "screen-info"),
        )
        assert screen is not None
        scale = float(screen[3])
        width, height = (int(length) for length in flag(fingerprint, "window-size").split(","))

        assert (int(screen[1]), int(screen[2])) == (display.physical_width, display.physical_height)
        assert width == display.width
        assert height == display.height - round(int(screen[5]) / scale) - round(int(screen[6]) / scale)


def test_a_phone_has_a_finger_and_a_computer_a_mouse() -> None:
    phone = drawn(screen_resolution="mobile-android-pixel")

    assert "primaryPointerType=4,availablePointerTypes=4,primaryHoverType=2" in flag(drawn(), "blink-settings")
    assert "primaryPointerType=2,availablePointerTypes=2,primaryHoverType=1" in flag(phone, "blink-settings")
    assert {c.method for c in target_commands(phone, "page")} >= {"Emulation.setTouchEmulationEnabled"}


@pytest.mark.parametrize(("mode", "setting"), [("allow", 1), ("block", 2), ("prompt", None)])
def test_the_permission_for_the_position(mode: str, setting: int | None) -> None:
    fingerprint = drawn(geolocation_mode=mode, geolocation_data="52.5,13.4")
    files = launch_of(fingerprint).own_files
    commands = {c.method: c.params for c in target_commands(fingerprint, "page")}

    if setting is None:
        assert files == {}
    else:
        assert json.loads(files[PREFERENCES]) == {
            "profile": {"default_content_setting_values": {"geolocation": setting}}
        }
    position = commands.get("Emulation.setGeolocationOverride")
    assert (position is None) == (mode == "block")
    assert position is None or (position["latitude"], position["longitude"]) == (52.5, 13.4)


@pytest.mark.parametrize("kind", sorted(PAGES | WORKERS))
def test_what_runs_script_gets_the_client_hints_and_the_cores(kind: str) -> None:
    fingerprint = drawn()
    first, cores, *_rest = target_commands(fingerprint, kind)
    hints = first.params["userAgentMetadata"]

    assert first.method.endswith("setUserAgentOverride")
    assert (first.params["userAgent"], first.params["platform"]) == (fingerprint.user_agent, "Win32")
    assert (hints["platform"], hints["bitness"], hints["formFactors"]) == ("Windows", "64", ["Desktop"])
    assert {"brand": "Google Chrome", "version": VERSION} in hints["fullVersionList"]
    assert "acceptLanguage" not in first.params  # it would change the order of the headers
    assert target_commands(fingerprint, kind, hidden=True)[0].params["acceptLanguage"] == "de-DE,de,en-US,en"
    assert cores.params == {"hardwareConcurrency": fingerprint.cores}


def test_the_time_zone_and_the_locale_are_left_to_clients() -> None:
    methods = {command.method for kind in PAGES | WORKERS for command in target_commands(drawn(), kind)}

    assert not methods & {"Emulation.setTimezoneOverride", "Emulation.setLocaleOverride"}


@pytest.mark.parametrize("kind", ["browser", "auction_worklet"])
def test_what_runs_no_script_of_a_page_is_left_alone(kind: str) -> None:
    assert target_commands(drawn(), kind) == []


def test_the_restored_platform_leaves_the_user_agent_that_a_client_chose() -> None:
    assert platform_override(drawn()).params == {"userAgent": "", "platform": "Win32"}


@pytest.mark.parametrize("fonts", sorted(NAMES))
def test_a_fonts_file_is_xml_and_its_generic_families_exist(fonts: str) -> None:
    root = ElementTree.fromstring(fonts_file(fonts))  # noqa: S314 (our own)
    names = {name for new in NAMES[fonts].values() for name in new}

    assert root.tag == "fontconfig"
    assert set(GENERIC[fonts].values()) <= names


def test_the_fonts_of_a_set_have_its_names(tmp_path: Path) -> None:
    found = {}
    for fonts in NAMES:
        (tmp_path / fonts).write_bytes(fonts_file(fonts, str(tmp_path / "cache")))
        env = {"FONTCONFIG_FILE": str(tmp_path / fonts)}
        listed = subprocess.run(["fc-list", ":", "family"], env=env, capture_output=True, text=True, check=True).stdout
        found[fonts] = set(listed.replace("\n", ",").split(","))

    assert {"Arial", "Segoe UI", "Segoe UI Emoji"} <= found["windows"]
    assert {"Helvetica Neue", "Menlo", "Apple Color Emoji"} <= found["macos"]
    assert not found["windows"] & {"Menlo", "DejaVu Sans", "Liberation Sans"}
    assert not found["macos"] & {"Segoe UI", "DejaVu Sans", "Liberation Sans"}


def test_linux_has_the_fonts_of_the_host() -> None:
    assert FONTS_FILE in launch_of(drawn("windows")).files
    assert launch_of(drawn("linux")).files == launch_of(drawn("linux")).jail_environment == {}
