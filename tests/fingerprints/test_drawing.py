"""Fingerprints: drawn from a seed with the stated shares, the same for life, and never contradicting themselves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zoneinfo
from collections import Counter
from functools import cache

import pytest

from fingerprints import Fingerprint, draw
from fingerprints.distributions import TABLES, pick
from fingerprints.families import FAMILIES, OS_FAMILIES, OsFamily
from fingerprints.places import PLACES

VERSION = "156.0.8078.79"
SEEDS = 10_000
ZONES = zoneinfo.available_timezones()  # reads a thousand files


@cache
def drawn(family: OsFamily) -> list[Fingerprint]:
    return [draw(seed=str(number), os_family=family, country="us", chromium_version=VERSION) for number in range(SEEDS)]


def assert_shares(seen: Counter[object], stated: dict[object, int]) -> None:
    """Every count is within five standard deviations of the stated share (one false alarm in a million)."""
    assert set(seen) <= set(stated)
    total, whole = sum(seen.values()), sum(stated.values())
    for value, share in stated.items():
        expected = total * share / whole
        assert abs(seen[value] - expected) <= 5 * expected**0.5 + 1, value


@pytest.mark.parametrize("family", OS_FAMILIES)
def test_screens_have_the_shares_of_the_table(family: OsFamily) -> None:
    seen = Counter((one.display.width, one.display.height, one.display.scale) for one in drawn(family))

    assert_shares(seen, {(row.width, row.height, row.scale): row.share for row in TABLES[family].screens})


@pytest.mark.parametrize("family", OS_FAMILIES)
def test_systems_have_the_shares_of_the_table(family: OsFamily) -> None:
    stated: Counter[object] = Counter()
    for row in TABLES[family].systems:
        stated[row.version] += row.share

    seen = Counter(one.hints.platform_version for one in drawn(family) if one.hints)

    assert seen.total() == SEEDS
    assert_shares(seen, dict(stated))


@pytest.mark.parametrize("family", OS_FAMILIES)
def test_cores_have_the_shares_of_the_table_among_those_that_a_display_allows(family: OsFamily) -> None:
    allowed = {(row.width, row.height, row.scale): row.cores for row in TABLES[family].screens}
    by_choice: dict[tuple[int, ...], Counter[object]] = {}
    for one in drawn(family):
        shape = (one.display.width, one.display.height, one.display.scale)
        by_choice.setdefault(allowed[shape], Counter())[one.cores] += 1

    for choice, seen in by_choice.items():
        stated = {row.cores: row.share for row in TABLES[family].cores if not choice or row.cores in choice}
        assert_shares(seen, stated)


@pytest.mark.parametrize("family", OS_FAMILIES)
def test_no_pair_contradicts_itself(family: OsFamily) -> None:
    rows = {(row.width, row.height, row.scale): row for row in TABLES[family].screens}
    for one in drawn(family):
        display, hints = one.display, one.hints
        assert hints is not None
        row = rows[display.width, display.height, display.scale]
        # Screen and scale: a whole number of device pixels, at a scale that the system has.
        assert display.width * display.scale == display.physical_width
        assert display.height * display.scale == display.physical_height
        assert display.scale in {"macos": {1, 2}, "linux": {1, 2}}.get(family, {1, 1.25, 1.5, 2, 2.5})
        assert 0 < display.window_height == display.height - display.top - display.bottom
        assert display.color_depth == row.color_depth
        assert not row.cores or one.cores in row.cores
        # OS, platform, user agent, hints, bars and fonts.
        assert (one.platform, hints.platform) == (FAMILIES[family].platform, FAMILIES[family].hint_platform)
        assert FAMILIES[family].user_agent_os in one.user_agent
        assert one.fonts == family
        assert (display.top > 0, display.bottom > 0) in {
            "macos": {(True, False)},
            "windows": {(False, True)},
            "linux": {(True, False), (False, True)},
        }[family]
        if family == "windows":
            assert display.bottom == (40 if hints.platform_version == "10.0.0" else 48)
        assert (hints.mobile, one.mobile, hints.model) == (False, False, "")
        assert one.warnings == ()


@pytest.mark.parametrize("country", PLACES)
def test_locale_languages_time_zone_and_position_are_the_countrys(country: str) -> None:
    for family in OS_FAMILIES:
        one = draw(seed="a", os_family=family, country=country, chromium_version=VERSION)
        place = PLACES[country]

        assert (one.locale, one.timezone) == (place.locale, place.timezone)
        assert one.timezone in ZONES
        assert one.languages[0] == one.locale
        assert one.languages[1] == one.locale.partition("-")[0]
        assert one.locale.endswith(country.upper())
        assert (place.latitude, place.longitude) != (0, 0)
        assert abs(one.geolocation.latitude - place.latitude) <= 0.05
        assert abs(one.geolocation.longitude - place.longitude) <= 0.05


@pytest.mark.parametrize(
    ("country", "languages"),
    [("us", "en-US,en"), ("gb", "en-GB,en"), ("de", "de-DE,de,en-US,en"), ("br", "pt-BR,pt,en-US,en")],
)
def test_languages_are_those_that_a_browser_of_the_country_is_set_to(country: str, languages: str) -> None:
    one = draw(seed="a", os_family="macos", country=country, chromium_version=VERSION)

    assert one.accept_language == languages


def test_a_seed_draws_the_same_in_every_process() -> None:
    script = (
        "from fingerprints import draw; import json; print(json.dumps(draw(seed='a seed', os_family='windows',"
        f" country='de', chromium_version='{VERSION}').to_dict()))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True, env={"PYTHONHASHSEED": "7"}
    ).stdout

    here = draw(seed="a seed", os_family="windows", country="de", chromium_version=VERSION)
    assert Fingerprint.from_dict(json.loads(printed)) == here


# What these seeds drew in the first release. A change here changes the identities of those who have them.
@pytest.mark.parametrize(
    ("family", "country", "seed", "screen", "cores", "system"),
    [
        ("macos", "us", "1", "1680x1050@2", 8, "15.6.1"),
        ("macos", "de", "an identity", "1512x982@2", 8, "26.3.1"),
        ("windows", "us", "1", "1366x768@1", 8, "19.0.0"),
        ("windows", "gb", "0123456789abcdef", "1920x1080@1", 6, "10.0.0"),
        ("linux", "us", "1", "1920x1080@1", 12, ""),
        ("linux", "fr", "x", "3440x1440@1", 20, ""),
    ],
)
def test_a_seed_draws_the_same_in_every_release(
    family: OsFamily, country: str, seed: str, screen: str, cores: int, system: str
) -> None:
    one = draw(seed=seed, os_family=family, country=country, chromium_version=VERSION)

    assert one.hints is not None
    shown = f"{one.display.width}x{one.display.height}@{one.display.scale:g}"
    assert (shown, one.cores, one.hints.platform_version) == (screen, cores, system)


def test_other_seeds_families_and_countries_draw_otherwise() -> None:
    def hardware(seed: str, family: OsFamily = "macos", country: str = "us") -> tuple[object, ...]:
        one = draw(seed=seed, os_family=family, country=country, chromium_version=VERSION)
        return (one.display, one.cores, one.hints, one.platform, one.timezone)

    assert len({hardware(str(number)) for number in range(100)}) > 50
    assert hardware("a", "macos") != hardware("a", "windows")
    assert hardware("a", country="us") != hardware("a", country="de")


def test_a_table_that_grows_moves_only_the_keys_of_the_new_row() -> None:
    rows = TABLES["windows"].screens
    before = {number: pick(str(number), "screen", rows[:-1]) for number in range(1_000)}
    after = {number: pick(str(number), "screen", rows) for number in range(1_000)}

    moved = [number for number in before if before[number] != after[number]]

    assert {after[number] for number in moved} == {rows[-1]}


@pytest.mark.parametrize("family", OS_FAMILIES)
def test_only_what_says_the_version_moves_with_chromium(family: OsFamily) -> None:
    before = draw(seed="a", os_family=family, country="fr", chromium_version="156.0.8078.79").to_dict()
    after = draw(seed="a", os_family=family, country="fr", chromium_version="157.0.8100.3").to_dict()

    moves = {name for name in before if before[name] != after[name]}
    hints = {name for name in before["hints"] if before["hints"][name] != after["hints"][name]}
    assert moves == {"chromium_version", "user_agent", "hints"}
    assert hints == {"brands", "full_version_list", "full_version"}
    assert "Chrome/157.0.0.0" in after["user_agent"]
    assert {"brand": "Google Chrome", "version": "157.0.8100.3"} in after["hints"]["full_version_list"]


def test_the_user_agent_is_chromes_own_text() -> None:
    texts = {
        family: draw(seed="a", os_family=family, country="us", chromium_version=VERSION).user_agent
        for family in OS_FAMILIES
    }

    assert texts["linux"] == (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
    )
    for text in texts.values():
        assert re.search(r"Chrome/156\.0\.0\.0 Safari/537\.36$", text)


def test_json_and_back_is_the_same_fingerprint() -> None:
    for overrides in ({}, {"screen_resolution": "mobile-iphone"}, {"geolocation_data": "1,2", "ja3_profile": "x"}):
        one = draw(seed="é", os_family="linux", country="jp", chromium_version=VERSION, overrides=overrides)

        assert Fingerprint.from_dict(json.loads(json.dumps(one.to_dict()))) == one


@pytest.mark.parametrize("data", [{}, {"seed": "a"}, {"hints": None, "display": {}}])
def test_what_is_not_a_fingerprint_is_a_value_error(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a fingerprint"):
        Fingerprint.from_dict(data)


def test_an_unknown_family_or_country_is_a_key_error() -> None:
    for family, country in (("beos", "us"), ("macos", "xx"), ("macos", "US")):
        with pytest.raises(KeyError):
            draw(seed="a", os_family=family, country=country, chromium_version=VERSION)  # type: ignore[arg-type]
