"""A measured fingerprint without a contradiction: a Mac in New York, in winter."""

from __future__ import annotations

import copy
from typing import Any

BRANDS = [
    {"brand": "Not:A-Brand", "version": "8"},
    {"brand": "Chromium", "version": "156"},
    {"brand": "Google Chrome", "version": "156"},
]
REALM = {
    "userAgent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/156.0.0.0 Safari/537.36",
    "platform": "MacIntel",
    "language": "en-US",
    "languages": ["en-US", "en"],
    "hardwareConcurrency": 8,
    "deviceMemory": 16,
    "webdriver": False,
    "onLine": True,
    "connection": {"effectiveType": "4g", "rtt": 50},
    "userAgentData": {
        "brands": BRANDS,
        "fullVersionList": [{**brand, "version": f"{brand['version']}.0.8078.108"} for brand in BRANDS],
        "mobile": False,
        "platform": "macOS",
        "platformVersion": "15.6.1",
        "architecture": "arm",
        "bitness": "64",
        "model": "",
        "uaFullVersion": "156.0.8078.108",
        "wow64": False,
        "formFactors": ["Desktop"],
    },
    "timezone": "America/New_York",
    "offsetMinutes": -300,
    "locale": "en-US",
    "number": "1,234,567.891",
}
HEADERS = {
    "Host": "browsa.localhost",
    "Connection": "keep-alive",
    "sec-ch-ua": '"Not:A-Brand";v="8", "Chromium";v="156", "Google Chrome";v="156"',
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"macOS"',
    "Upgrade-Insecure-Requests": "1",
    "User-Agent": REALM["userAgent"],
    "Accept": "text/html",
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-US,en;q=0.9",
}
DOCUMENT: dict[str, Any] = {
    "navigator": {
        **REALM,
        "vendor": "Google Inc.",
        "maxTouchPoints": 0,
        "cookieEnabled": True,
        "pdfViewerEnabled": True,
        "plugins": ["PDF Viewer", "Chrome PDF Viewer", "Chromium PDF Viewer", "Edge PDF Viewer", "WebKit PDF"],
        "permissions": {
            "camera": "prompt",
            "geolocation": "prompt",
            "microphone": "prompt",
            "notifications": "prompt",
        },
        "notificationPermission": "default",
        "mediaDevices": ["audioinput", "videoinput", "audiooutput"],
        "voices": 40,
        "storageQuota": 10 * 2**30,
        "chrome": True,
    },
    "screen": {
        "width": 1512, "height": 982, "availWidth": 1512, "availHeight": 949, "availLeft": 0, "availTop": 33,
        "colorDepth": 30, "pixelDepth": 30, "devicePixelRatio": 2,
        "outerWidth": 1512, "outerHeight": 949, "innerWidth": 1512, "innerHeight": 862, "screenX": 0, "screenY": 33,
        "orientation": "landscape-primary",
        "media": {
            "pointer": "fine", "hover": "hover", "anyPointer": "fine", "anyHover": "hover", "colorGamut": "p3",
            "size": True, "resolution": True,
        },
    },
    "webgl": {"vendor": "Google Inc. (Apple)", "renderer": "ANGLE (Apple, ANGLE Metal Renderer: Apple M2)"},
    "timezone": "America/New_York",
    "locale": "en-US",
    "canvas": {"hash": "0" * 32},
    "audio": {"hash": "0" * 32, "sum": 124.04},
    "tls": {"ja3": "", "ja4": "t13d1516h2_8daaf6152771_e5627efa2ab1"},
    "fonts": ["Arial", "Helvetica Neue", "Menlo"],
    "headers": {"order": list(HEADERS), "values": {name.lower(): value for name, value in HEADERS.items()}},
    "realms": {"frame": dict(REALM), "worker": dict(REALM)},
    "measured_at": "2026-11-28T14:00:00.000Z",
}  # fmt: skip


def changed(*path_and_value: Any) -> dict[str, Any]:
    """The document with one value replaced: `changed("screen", "media", "hover", "none")`."""
    *path, name, value = path_and_value
    document = part = copy.deepcopy(DOCUMENT)
    for step in path:
        part = part[step]
    part[name] = value
    return document
