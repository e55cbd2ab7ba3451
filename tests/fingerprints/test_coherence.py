"""What contradicts itself in a measured fingerprint: one example for each check."""

from __future__ import annotations

from typing import Any

import pytest

from fingerprints.coherence import LISTED, accept_language, contradictions
from tests.fingerprints.documents import DOCUMENT, HEADERS, REALM, changed

MAC, WINDOWS = REALM["userAgent"], "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/156.0.0.0 Safari/537.36"
HINTS: dict[str, Any] = REALM["userAgentData"]
MOVED = [name for name in HEADERS if name != "Accept-Language"]
MOVED.insert(MOVED.index("User-Agent") + 1, "Accept-Language")


def test_a_coherent_document_has_no_contradiction() -> None:
    assert contradictions(DOCUMENT) == []


EXAMPLES: list[tuple[tuple[Any, ...], tuple[str, str]]] = [
    (("navigator", "webdriver", True), ("webdriver", "page")),
    (("navigator", "userAgent", MAC.replace("Chrome/", "HeadlessChrome/")), ("headless", "page")),
    (("navigator", "chrome", False), ("chrome_object", "page")),
    (("navigator", "platform", "Linux x86_64"), ("platform", "page")),
    (("navigator", "userAgent", WINDOWS), ("platform", "page")),
    (("navigator", "userAgent", WINDOWS), ("hints_platform", "page")),
    (("navigator", "userAgentData", None), ("hints_missing", "page")),
    (("navigator", "userAgentData", {**HINTS, "platform": "Linux"}), ("hints_platform", "page")),
    (("navigator", "userAgentData", {**HINTS, "fullVersionList": []}), ("hints_empty", "page")),
    (("navigator", "userAgentData", {**HINTS, "architecture": ""}), ("hints_empty", "page")),
    (("navigator", "userAgentData", {**HINTS, "mobile": True}), ("hints_mobile", "page")),
    (("navigator", "userAgent", MAC.replace("156", "147")), ("version", "page")),
    (("headers", "values", "user-agent", WINDOWS), ("header_user_agent", "headers")),
    (("headers", "values", "accept-language", "de-DE,de;q=0.9"), ("header_accept_language", "headers")),
    (("headers", "values", "sec-ch-ua", '"Chromium";v="156"'), ("header_sec_ch_ua", "headers")),
    (("headers", "values", "sec-ch-ua-platform", '"Linux"'), ("header_sec_ch_ua_platform", "headers")),
    (("headers", "values", "sec-ch-ua-mobile", "?1"), ("header_sec_ch_ua_mobile", "headers")),
    (("headers", "order", MOVED), ("header_order", "headers")),
    (("navigator", "languages", ["de-DE", "de"]), ("languages", "page")),
    (("navigator", "locale", "de-DE"), ("locale", "page")),
    (("navigator", "timezone", "Mars/Olympus_Mons"), ("timezone", "page")),
    (("navigator", "offsetMinutes", 60), ("timezone_offset", "page")),
    (("measured_at", "2026-07-01T12:00:00.000Z"), ("timezone_offset", "page")),  # in summer it is -240
    (("screen", "media", "size", False), ("media_size", "page")),
    (("screen", "media", "resolution", False), ("media_resolution", "page")),
    (("screen", "colorDepth", 16), ("color_depth", "page")),
    (("screen", "availWidth", 1600), ("available_screen", "page")),
    (("screen", "availHeight", 982), ("no_desktop_bars", "page")),
    (("screen", "outerWidth", 0), ("window", "page")),
    (("screen", "outerHeight", 1080), ("window", "page")),
    (("screen", "innerHeight", 949), ("viewport", "page")),
    (("screen", "media", "pointer", "none"), ("pointer", "page")),
    (("screen", "media", "hover", "none"), ("hover", "page")),
    (("navigator", "maxTouchPoints", 5), ("touch_points", "page")),
    (("navigator", "plugins", []), ("plugins", "page")),
    (("navigator", "onLine", False), ("online", "page")),
    (("navigator", "connection", {"effectiveType": "4g", "rtt": 0}), ("connection_rtt", "page")),
    (("navigator", "notificationPermission", "denied"), ("notification_permission", "page")),
    (("navigator", "permissions", "geolocation", "denied"), ("permission_geolocation", "page")),
    (("navigator", "deviceMemory", 12), ("device_memory", "page")),
    (("navigator", "cookieEnabled", False), ("cookies", "page")),
    (("navigator", "voices", 0), ("voices", "page")),
    (("navigator", "storageQuota", 2**30), ("storage_quota", "page")),
    (("navigator", "mediaDevices", []), ("media_devices", "page")),
    (("webgl", "renderer", None), ("webgl_missing", "page")),
    (("webgl", "renderer", "ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device))"), ("webgl_software", "page")),
    (("fonts", ["Arial", "DejaVu Sans"]), ("fonts", "page")),
    (("realms", "frame", "userAgent", WINDOWS), ("user_agent", "frame")),
    (("realms", "worker", "platform", "Linux x86_64"), ("platform", "worker")),
    (("realms", "worker", "hardwareConcurrency", 2), ("hardware_concurrency", "worker")),
    (("realms", "worker", "userAgentData", {**HINTS, "platform": "Linux"}), ("hints", "worker")),
    (("realms", "worker", "timezone", "UTC"), ("timezone", "worker")),
    (("realms", "frame", "languages", ["en-US"]), ("languages", "frame")),
]


@pytest.mark.parametrize(
    ("change", "expected"), EXAMPLES, ids=[f"{code}-{at}" for at, (_, (code, _r)) in enumerate(EXAMPLES)]
)
def test_one_change_makes_this_contradiction(change: tuple[Any, ...], expected: tuple[str, str]) -> None:
    assert expected in [(found["code"], found["realm"]) for found in contradictions(changed(*change))]


def test_a_contradiction_says_what_was_expected_and_what_was_seen() -> None:
    assert contradictions(changed("realms", "worker", "platform", "Linux x86_64")) == [
        {"code": "platform", "realm": "worker", "expected": "MacIntel", "seen": "Linux x86_64", "listed": True}
    ]


def test_a_page_with_another_platform_is_no_listed_exception() -> None:
    found = contradictions(changed("navigator", "platform", "Linux x86_64"))
    assert [one["listed"] for one in found if one["code"] == "platform" and one["realm"] == "page"] == [False]


def test_every_listed_exception_is_one_that_a_check_can_find() -> None:
    found = {expected for _change, expected in EXAMPLES}
    workers = {(code, "worker") for code, realm in LISTED if realm.endswith("_worker")}
    assert {(code, realm) for code, realm in LISTED if not realm.endswith("_worker")} | workers <= found


@pytest.mark.parametrize("realm", ["shared_worker", "service_worker", "cross_site_frame", "popup"])
def test_every_realm_of_the_document_is_compared(realm: str) -> None:
    found = contradictions(changed("realms", realm, {**REALM, "userAgent": WINDOWS}))
    assert [(one["code"], one["realm"]) for one in found] == [("user_agent", realm)]


def test_the_header_of_many_languages() -> None:
    assert accept_language(["de-DE", "de", "en-US", "en"]) == "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7"
