"""What a caller may choose of a fingerprint: what is given, what is refused, and what is only warned about."""

from __future__ import annotations

import pytest

from fingerprints import Fingerprint, draw
from fingerprints.families import OsFamily

VERSION = "156.0.8078.79"


def with_overrides(family: OsFamily = "macos", country: str = "us", **overrides: str) -> Fingerprint:
    return draw(seed="a", os_family=family, country=country, chromium_version=VERSION, overrides=overrides)


@pytest.mark.parametrize("size", ["1920x1080", "2560x1440", "1366x768", "1234x777", "3840x2160", "5120x2880"])
@pytest.mark.parametrize("family", ["macos", "windows", "linux"])
def test_any_size_that_a_screen_can_have_is_given(family: OsFamily, size: str) -> None:
    one = with_overrides(family, screen_resolution=size)

    assert f"{one.display.width}x{one.display.height}" == size
    assert one.display.physical_width == one.display.width * one.display.scale
    assert one.warnings == ()


def test_a_size_has_the_scale_that_most_screens_of_that_size_have() -> None:
    assert with_overrides("macos", screen_resolution="1512x982").display.scale == 2
    assert with_overrides("windows", screen_resolution="1536x864").display.scale == 1.25
    assert with_overrides("windows", screen_resolution="1920x1080").display.scale == 1


def test_a_chosen_screen_leaves_the_rest_of_the_draw_unless_the_machine_does_not_exist() -> None:
    plain, chosen = with_overrides("windows"), with_overrides("windows", screen_resolution="1234x777")
    laptop = with_overrides("macos", screen_resolution="1440x900")

    assert (chosen.cores, chosen.hints, chosen.timezone) == (plain.cores, plain.hints, plain.timezone)
    assert laptop.cores == 8  # the Macs with this built-in display have eight


@pytest.mark.parametrize("size", ["99999x99999", "8192x8192"])
def test_a_screen_that_cannot_be_drawn_is_a_warning_and_the_draw_stays(size: str) -> None:
    one = with_overrides(screen_resolution=size)

    assert one.display == with_overrides().display
    assert [text.partition(":")[0] for text in one.warnings] == ["screen_resolution"]


def test_a_desktop_with_a_phones_screen_is_a_warning() -> None:
    one = with_overrides(screen_resolution="390x844")

    assert (one.display.width, one.mobile) == (390, False)
    assert one.warnings == ("screen_resolution: no desktop computer has a screen of 390x844",)


def test_an_android_phone_is_one_in_screen_touch_user_agent_and_hints() -> None:
    one = with_overrides(screen_resolution="mobile-android-pixel")

    assert "Android 10; K" in one.user_agent
    assert "Chrome/156.0.0.0 Mobile" in one.user_agent
    assert one.hints is not None
    assert (one.hints.platform, one.hints.mobile, one.hints.form_factor) == ("Android", True, "Mobile")
    assert (one.hints.model, one.hints.architecture) == ("Pixel 9", "")
    assert (one.platform, one.touch_points, one.mobile) == ("Linux armv81", 5, True)
    assert (one.display.width, one.display.physical_width, one.display.scale) == (412, 1080, 2.625)
    assert [text.partition(":")[0] for text in one.warnings] == ["screen_resolution"]


def test_an_iphone_has_no_client_hints_and_a_warning() -> None:
    one = with_overrides(screen_resolution="mobile-iphone")

    assert "iPhone" in one.user_agent
    assert (one.hints, one.platform, one.display.scale) == (None, "iPhone", 3)
    assert "WebKit" in one.warnings[0]


def test_modes_and_position_are_in_the_fingerprint() -> None:
    one = with_overrides(
        country="de",
        webrtc_mode="disabled",
        media_devices_mode="real",
        geolocation_mode="allow",
        geolocation_data="52.52, -13.405",
    )

    assert (one.webrtc, one.media_devices, one.geolocation.mode) == ("disabled", "real", "allow")
    assert (one.geolocation.latitude, one.geolocation.longitude) == (52.52, -13.405)


def test_what_needs_nothing_special_has_no_warning() -> None:
    one = with_overrides(
        webrtc_mode="masked",
        media_devices_mode="masked",
        port_scan_protection="masked",
        geolocation_mode="allow",
        geolocation_data="34.05,-118.24",  # Los Angeles
        ja3_profile="",
    )

    assert one.warnings == ()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"ja3_profile": "firefox_120"}, "ja3_profile: is not applied"),
        ({"webrtc_mode": "real"}, "webrtc_mode: no UDP"),
        ({"webrtc_mode": "disabled"}, "webrtc_mode: RTCPeerConnection stays"),
        ({"media_devices_mode": "real"}, "media_devices_mode: the machine has no camera"),
        ({"port_scan_protection": "real"}, "port_scan_protection: pages never reach"),
        ({"geolocation_mode": "block", "geolocation_data": "40.7,-74"}, "geolocation_data: has no effect"),
        ({"geolocation_data": "35.68,139.69"}, "geolocation_data: is far from the country"),
    ],
)
def test_what_cannot_be_given_is_a_warning(overrides: dict[str, str], said: str) -> None:
    warnings = with_overrides(**overrides).warnings

    assert len(warnings) == 1
    assert warnings[0].startswith(said)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("screen_resolution", "large"),
        ("screen_resolution", "1920"),
        ("screen_resolution", "0x1080"),
        ("screen_resolution", "1920x1080x2"),
        ("screen_resolution", "-1x5"),
        ("screen_resolution", "mobile"),
        ("webrtc_mode", "on"),
        ("geolocation_mode", "ask"),
        ("geolocation_data", "52.52"),
        ("geolocation_data", "91,0"),
        ("geolocation_data", "0,181"),
        ("geolocation_data", "nan,0"),
        ("geolocation_data", "1e1,0"),
        ("media_devices_mode", "fake"),
        ("port_scan_protection", "off"),
        ("ja3_profile", "x" * 101),
        ("timezone", "UTC"),
    ],
)
def test_a_value_of_the_wrong_form_is_a_value_error_that_names_the_field(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        with_overrides(**{name: value})
