"""Judges what the reference pages of the detection harness read. Pure: readings in, verdicts out.

Each site has a fixed list of checks, so that a run also records what passed. docs/harness.md explains them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from fingerprints.coherence import contradictions

Outcome = Literal["passed", "listed", "failed"]
Reading = Mapping[str, Any]

# The checks of each site. A name is the code of a contradiction (`fingerprints.coherence`) or one of `_own_findings`.
SITES: dict[str, tuple[str, ...]] = {
    "automation": (
        "webdriver", "headless", "chrome_object", "plugins", "online", "connection_rtt", "notification_permission",
        "permission_geolocation", "permission_notifications", "cookies", "media_devices", "voices", "storage_quota",
        "driver_names", "changed_properties", "serialized_log", "window_at_start",
    ),
    "coherence": (
        "user_agent", "platform", "version", "hints", "hints_missing", "hints_empty", "hints_platform", "hints_mobile",
        "hardware_concurrency", "device_memory", "header_user_agent", "header_sec_ch_ua", "header_sec_ch_ua_platform",
        "header_sec_ch_ua_mobile", "worker_headers", "realms_answered",
    ),
    "place": (
        "timezone", "timezone_offset", "language", "languages", "locale", "number_format", "header_accept_language",
        "media_size", "media_resolution", "color_depth", "available_screen", "no_desktop_bars", "window", "viewport",
        "pointer", "hover", "touch_points",
    ),
    "drawing": (
        "webgl_missing", "webgl_software", "fonts", "canvas_stable", "webgl_stable", "audio_stable", "fonts_stable",
    ),
    "network": ("header_order", "tls_seen", "tls_version", "tls_alpn", "tls_ciphers", "http2"),
}  # fmt: skip
REALMS = ("frame", "worker", "cross_site_frame", "popup", "shared_worker", "service_worker")
# The part of JA4 that names the ciphers: the same in every Chrome since version 83.
CHROME_CIPHERS = "8daaf6152771"
# Chrome's settings, window and order of pseudo-header fields in HTTP/2, in Akamai's form.
CHROME_HTTP2 = "1:65536;2:0;4:6291456;6:262144|15663105|0|m,a,s,p"


@dataclass(frozen=True, slots=True)
class Check:
    """A verdict on one value. `detail`: where it was seen, `{realm, expected, seen, listed}` each."""

    site: str
    name: str
    outcome: Outcome
    detail: list[dict[str, Any]] = field(default_factory=list)


def judge(readings: Mapping[str, Reading], *, measured_at: str) -> list[Check]:
    """The verdicts of all reference pages. `readings` has one reading by site, `drawing` also one of a second load."""
    found: dict[str, list[dict[str, Any]]] = {}
    document = as_document(readings, measured_at=measured_at)
    for one in [*contradictions(document), *_own_findings(readings, document)]:
        found.setdefault(one["code"], []).append({name: one[name] for name in ("realm", "expected", "seen", "listed")})
    return [
        Check(site, name, _outcome(found.get(name, [])), found.get(name, []))
        for site, names in SITES.items()
        for name in names
    ]


def _outcome(detail: Iterable[Mapping[str, Any]]) -> Outcome:
    listed = [one["listed"] for one in detail]
    if not listed:
        return "passed"
    return "listed" if all(listed) else "failed"


def as_document(readings: Mapping[str, Reading], *, measured_at: str) -> dict[str, Any]:
    """The readings in the form of a measured fingerprint."""
    machine = readings["drawing"]["machine"]
    navigator = readings["automation"]["navigator"]
    fields = readings["automation"]["server"]["requests"]["/automation"]
    return {
        "navigator": navigator,
        "screen": readings["place"]["screen"],
        "webgl": machine["webgl"],
        "fonts": machine["fonts"],
        "headers": {"order": [name for name, _ in fields], "values": {name.lower(): value for name, value in fields}},
        "realms": readings["coherence"]["realms"],
        "measured_at": measured_at,
    }


def _own_findings(readings: Mapping[str, Reading], document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What only a harness run can see."""
    automation, network = readings["automation"], readings["network"]["server"]
    tls, http2 = network["tls"] or {}, network["http2"] or {}
    start = automation["atStart"]
    findings = [
        ("driver_names", "page", [], automation["driverNames"]),
        ("changed_properties", "page", [], automation["changedProperties"]),
        ("serialized_log", "page", False, automation["serialized"]),
        ("window_at_start", "page", True, start["outerWidth"] > 0 and start["outerHeight"] > 0),
        ("realms_answered", "page", sorted(REALMS), sorted(document["realms"])),
        ("tls_seen", "network", True, network["tls"] is not None),
        ("tls_version", "network", "0x0304", (tls.get("versions") or [None])[0]),
        ("tls_alpn", "network", ["h2", "http/1.1"], tls.get("alpn")),
        ("tls_ciphers", "network", CHROME_CIPHERS, (tls.get("ja4") or "__").split("_")[1]),
        ("http2", "network", CHROME_HTTP2, http2.get("akamai")),
    ]
    drawn = readings["drawing"]
    for part in ("canvas", "webgl", "audio", "fonts"):
        findings += [
            (f"{part}_stable", "page", drawn["machine"][part], other[part])
            for other in (drawn["again"], readings["drawing_again"]["machine"])
        ]
    for path, fields in readings["coherence"]["server"]["requests"].items():
        if path in ("/shared.js", "/service.js", "browsa-frame.localhost:/realm"):
            sent = {name.lower(): value for name, value in fields}
            findings.append(("worker_headers", path, document["navigator"]["userAgent"], sent.get("user-agent")))
    return [
        {"code": code, "realm": realm, "expected": expected, "seen": seen, "listed": False}
        for code, realm, expected, seen in findings
        if expected != seen
    ]


def external_check(site: str, value: Any, *, threshold: float) -> Check:
    """The verdict of an external page, from what its expression gave: true, false, or a score."""
    if isinstance(value, bool):
        passed = value
    elif isinstance(value, int | float):
        passed = value >= threshold
    else:
        return failed(site, "expression", expected="true, false or a number", seen=str(value)[:200])
    if passed:
        return Check(site, "expression", "passed")
    return failed(site, "expression", expected=threshold, seen=value)


def failed(site: str, name: str, *, expected: Any, seen: Any) -> Check:
    return Check(site, name, "failed", [{"realm": "page", "expected": expected, "seen": seen, "listed": False}])
