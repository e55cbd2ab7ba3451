"""Find what in a measured fingerprint contradicts itself, or cannot be on the computer that it describes. Pure.

A contradiction is `{code, realm, expected, seen, listed}`. `realm` is "page", "headers", or a key of the document's
`realms` (frame, worker, …). `listed` is True for the known exceptions: Chromium has no native setting for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

Document = Mapping[str, Any]

# Exceptions that are known: see docs/harness.md. A pair without a realm holds for all realms.
LISTED = frozenset(
    {
        ("platform", "worker"),
        ("platform", "shared_worker"),
        ("platform", "service_worker"),
        ("webgl_software", "page"),
        ("storage_quota", "page"),
        ("voices", "page"),
    }
)


class Mismatch(NamedTuple):
    code: str
    realm: str
    expected: Any
    seen: Any


class System(NamedTuple):
    """What Chrome says of one operating system. `fonts`: one of them is on every computer that runs it."""

    platforms: tuple[str, ...]
    hint: str
    fonts: tuple[str, ...]


SYSTEMS = {
    "Macintosh": System(("MacIntel",), "macOS", ("Menlo", "Helvetica Neue", "Lucida Grande")),
    "Windows NT": System(("Win32",), "Windows", ("Segoe UI",)),
    "Android": System(("Linux armv8l", "Linux armv81", "Linux aarch64"), "Android", ()),
    "X11; Linux": System(("Linux x86_64",), "Linux", ()),
    "X11; CrOS": System(("Linux x86_64",), "Chrome OS", ()),
}
PDF_PLUGINS = 5  # PDF Viewer under five names, in every desktop Chrome
COLOR_DEPTHS = (24, 30, 32)
MEMORIES = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)
MIN_QUOTA = 10 * 2**30
# The values that a frame, popup or worker must share with its page.
SHARED = (
    "userAgent", "platform", "language", "languages", "hardwareConcurrency", "deviceMemory", "userAgentData",
    "timezone", "offsetMinutes", "locale", "number", "onLine", "webdriver",
)  # fmt: skip
# Of those, under the code of the check; others have their own name.
CODES = {
    "userAgent": "user_agent", "hardwareConcurrency": "hardware_concurrency", "deviceMemory": "device_memory",
    "userAgentData": "hints", "offsetMinutes": "timezone_offset", "number": "number_format", "onLine": "online",
}  # fmt: skip


def contradictions(document: Document) -> list[dict[str, Any]]:
    """All contradictions of a document, in the order of the checks. Parts that a document lacks are not checked."""
    return [
        {**found._asdict(), "listed": (found.code, found.realm) in LISTED}
        for check in CHECKS
        for found in check(document)
    ]


def system_of(user_agent: str) -> System | None:
    return next((system for token, system in SYSTEMS.items() if token in user_agent), None)


def _automation(document: Document) -> Iterator[Mismatch]:
    seen = document["navigator"]
    if seen["webdriver"]:
        yield Mismatch("webdriver", "page", False, True)
    if "Headless" in seen["userAgent"]:
        yield Mismatch("headless", "page", "Chrome", seen["userAgent"])
    if seen.get("chrome") is False:
        yield Mismatch("chrome_object", "page", "window.chrome", None)


def _user_agent(document: Document) -> Iterator[Mismatch]:
    seen = document["navigator"]
    system, hints = system_of(seen["userAgent"]), seen["userAgentData"]
    if system is None:
        return  # an iPhone, for one
    if seen["platform"] not in system.platforms:
        yield Mismatch("platform", "page", system.platforms[0], seen["platform"])
    if hints is None:
        yield Mismatch("hints_missing", "page", "navigator.userAgentData", None)
        return
    if hints["platform"] != system.hint:
        yield Mismatch("hints_platform", "page", system.hint, hints["platform"])
    if not hints.get("fullVersionList") or (not hints.get("architecture") and not hints.get("mobile")):
        empty = [name for name in ("fullVersionList", "architecture") if not hints.get(name)]
        yield Mismatch("hints_empty", "page", "values", empty)
    major = seen["userAgent"].partition("Chrome/")[2].partition(".")[0]
    brands = [*hints["brands"], *(hints.get("fullVersionList") or ())]
    versions = {brand["version"].partition(".")[0] for brand in brands if "Chrom" in brand["brand"]}
    if versions != {major}:
        yield Mismatch("version", "page", major, sorted(versions))
    if hints["mobile"] != ("Mobile" in seen["userAgent"]):
        yield Mismatch("hints_mobile", "page", "Mobile" in seen["userAgent"], hints["mobile"])


def _headers(document: Document) -> Iterator[Mismatch]:
    if not document.get("headers"):
        return
    seen, sent = document["navigator"], document["headers"]["values"]
    expected = {"user-agent": seen["userAgent"], "accept-language": accept_language(seen["languages"])}
    if hints := seen["userAgentData"]:
        brands = ", ".join(f'"{brand["brand"]}";v="{brand["version"]}"' for brand in hints["brands"])
        expected["sec-ch-ua"] = brands
        expected["sec-ch-ua-platform"] = f'"{hints["platform"]}"'
        expected["sec-ch-ua-mobile"] = "?1" if hints["mobile"] else "?0"
    for name, value in expected.items():
        if sent.get(name) != value:
            yield Mismatch(f"header_{name.replace('-', '_')}", "headers", value, sent.get(name))
    order = [name.lower() for name in document["headers"]["order"]]
    wanted = [name for name in NATIVE_ORDER if name in order]
    if [name for name in order if name in NATIVE_ORDER] != wanted:
        yield Mismatch("header_order", "headers", wanted, order)


# Of a navigation over HTTP/1.1, as Chromium sends it without any override.
NATIVE_ORDER = (
    "host", "connection", "sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "upgrade-insecure-requests",
    "user-agent", "accept", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-user", "sec-fetch-dest", "accept-encoding",
    "accept-language",
)  # fmt: skip


def accept_language(languages: list[str]) -> str:
    """The header that Chromium makes of `navigator.languages`: each next one is worth 0.1 less, down to 0.1."""
    return ",".join(
        language if at == 0 else f"{language};q={max(1, 10 - at) / 10:.1f}" for at, language in enumerate(languages)
    )


def _place(document: Document) -> Iterator[Mismatch]:
    seen = document["navigator"]
    if seen["languages"][:1] != [seen["language"]]:
        yield Mismatch("languages", "page", seen["language"], seen["languages"])
    if seen["locale"].partition("-")[0] != seen["language"].partition("-")[0]:
        yield Mismatch("locale", "page", seen["language"], seen["locale"])
    try:
        zone = ZoneInfo(seen["timezone"])
    except (ZoneInfoNotFoundError, ValueError):
        yield Mismatch("timezone", "page", "an IANA time zone", seen["timezone"])
        return
    offset = datetime.fromisoformat(document["measured_at"]).astimezone(zone).utcoffset()
    minutes = int(offset.total_seconds() // 60) if offset is not None else 0
    if minutes != seen["offsetMinutes"]:
        yield Mismatch("timezone_offset", "page", minutes, seen["offsetMinutes"])


def _screen(document: Document) -> Iterator[Mismatch]:
    seen = document["screen"]
    mobile = "Mobile" in document["navigator"]["userAgent"]
    media = seen["media"]
    for name in ("size", "resolution"):
        if not media[name]:
            yield Mismatch(f"media_{name}", "page", True, False)
    if seen["colorDepth"] not in COLOR_DEPTHS:
        yield Mismatch("color_depth", "page", list(COLOR_DEPTHS), seen["colorDepth"])
    whole, available = [seen["width"], seen["height"]], [seen["availWidth"], seen["availHeight"]]
    if available[0] > whole[0] or available[1] > whole[1]:
        yield Mismatch("available_screen", "page", whole, available)
    elif seen["availHeight"] == seen["height"] and not mobile:
        yield Mismatch("no_desktop_bars", "page", f"less than {seen['height']}", seen["availHeight"])
    outer, inner = [seen["outerWidth"], seen["outerHeight"]], [seen["innerWidth"], seen["innerHeight"]]
    if 0 in outer or outer[0] > available[0] or outer[1] > available[1]:
        yield Mismatch("window", "page", available, outer)
    elif inner[0] > outer[0] or inner[1] > outer[1] or (inner == outer and not mobile):
        yield Mismatch("viewport", "page", f"smaller than {outer}", inner)
    pointer, hover = ("coarse", "none") if mobile else ("fine", "hover")
    for name, value in (("pointer", pointer), ("hover", hover)):
        if media[name] != value:
            yield Mismatch(name, "page", value, media[name])
    if (document["navigator"]["maxTouchPoints"] > 0) != mobile and system_of(
        document["navigator"]["userAgent"]
    ) is not SYSTEMS["Windows NT"]:
        yield Mismatch("touch_points", "page", 5 if mobile else 0, document["navigator"]["maxTouchPoints"])


def _features(document: Document) -> Iterator[Mismatch]:
    seen = document["navigator"]
    desktop = "Mobile" not in seen["userAgent"]
    if desktop and len(seen["plugins"]) != PDF_PLUGINS:
        yield Mismatch("plugins", "page", PDF_PLUGINS, len(seen["plugins"]))
    if not seen["onLine"]:
        yield Mismatch("online", "page", True, False)
    if seen["connection"] is not None and seen["connection"]["rtt"] == 0:
        yield Mismatch("connection_rtt", "page", "more than 0", 0)
    wanted = {"default": "prompt"}.get(seen["notificationPermission"], seen["notificationPermission"])
    if seen["permissions"]["notifications"] != wanted:
        yield Mismatch("notification_permission", "page", wanted, seen["permissions"]["notifications"])
    for name in ("geolocation", "notifications"):
        if seen["permissions"][name] == "denied":
            yield Mismatch(f"permission_{name}", "page", "prompt", "denied")
    if seen["deviceMemory"] is not None and seen["deviceMemory"] not in MEMORIES:
        yield Mismatch("device_memory", "page", list(MEMORIES), seen["deviceMemory"])
    if not seen["cookieEnabled"]:
        yield Mismatch("cookies", "page", True, False)
    if desktop and not seen["voices"]:
        yield Mismatch("voices", "page", "more than 0", 0)
    if seen["storageQuota"] < MIN_QUOTA:
        yield Mismatch("storage_quota", "page", MIN_QUOTA, seen["storageQuota"])
    if "mediaDevices" in seen and not seen["mediaDevices"]:
        yield Mismatch("media_devices", "page", "more than 0", 0)


def _machine(document: Document) -> Iterator[Mismatch]:
    renderer = (document.get("webgl") or {}).get("renderer")
    if renderer is None:
        yield Mismatch("webgl_missing", "page", "a renderer", None)
    elif any(name in renderer for name in ("SwiftShader", "llvmpipe", "Software")):
        yield Mismatch("webgl_software", "page", "a graphics card", renderer)
    system = system_of(document["navigator"]["userAgent"])
    if system is not None and system.fonts and not set(system.fonts) & set(document.get("fonts") or ()):
        yield Mismatch("fonts", "page", list(system.fonts), list(document.get("fonts") or ()))


def _realms(document: Document) -> Iterator[Mismatch]:
    page = document["navigator"]
    for realm, seen in (document.get("realms") or {}).items():
        for name in SHARED:
            if seen.get(name) != page.get(name):
                yield Mismatch(CODES.get(name, name), realm, page.get(name), seen.get(name))


CHECKS: tuple[Callable[[Document], Iterator[Mismatch]], ...] = (
    _automation,
    _user_agent,
    _headers,
    _place,
    _screen,
    _features,
    _machine,
    _realms,
)
