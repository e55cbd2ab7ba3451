"""The CDP commands for the parts of a fingerprint that have no setting at the start of Chromium. Pure."""

from __future__ import annotations

from typing import Any

from fingerprints import Fingerprint
from runner.identity.emulation import Command

HIDDEN = "other"  # the type of a hidden page
# Target types that run script and have an Emulation domain; others inherit from their frame.
PAGES = frozenset({"page", "iframe", "webview", "tab", "background_page", HIDDEN})
WORKERS = frozenset({"worker", "shared_worker", "service_worker"})


def target_commands(fingerprint: Fingerprint, target_type: str, *, hidden: bool = False) -> list[Command]:
    """The commands for a new target of `target_type`, to send before its first script runs.

    `hidden`: it is a hidden page or belongs to one. Without a tab it has no languages from the command line.
    """
    override = _user_agent_override(fingerprint)
    if hidden:
        override["acceptLanguage"] = fingerprint.accept_language
    cores = Command("Emulation.setHardwareConcurrencyOverride", {"hardwareConcurrency": fingerprint.cores})
    if target_type in WORKERS:
        return [Command("Network.setUserAgentOverride", override), cores]
    if target_type not in PAGES:
        return []
    commands = [Command("Emulation.setUserAgentOverride", override), cores]
    if fingerprint.geolocation.mode != "block":
        position = {"latitude": fingerprint.geolocation.latitude, "longitude": fingerprint.geolocation.longitude}
        commands.append(Command("Emulation.setGeolocationOverride", {**position, "accuracy": 20}))
    if fingerprint.mobile:
        touch = {"enabled": True, "maxTouchPoints": fingerprint.touch_points}
        commands.append(Command("Emulation.setTouchEmulationEnabled", touch))
    return commands


def platform_override(fingerprint: Fingerprint) -> Command:
    """Set only `navigator.platform`; an empty user agent keeps the one that another session has set."""
    return Command("Emulation.setUserAgentOverride", {"userAgent": "", "platform": fingerprint.platform})


def _user_agent_override(fingerprint: Fingerprint) -> dict[str, Any]:
    """The client hints. The user agent is the one of the command line: CDP does not take hints without it."""
    override: dict[str, Any] = {"userAgent": fingerprint.user_agent, "platform": fingerprint.platform}
    if (hints := fingerprint.hints) is not None:
        override["userAgentMetadata"] = {
            "brands": [brand._asdict() for brand in hints.brands],
            "fullVersionList": [brand._asdict() for brand in hints.full_version_list],
            "fullVersion": hints.full_version,
            "platform": hints.platform,
            "platformVersion": hints.platform_version,
            "architecture": hints.architecture,
            "bitness": hints.bitness,
            "model": hints.model,
            "mobile": hints.mobile,
            "wow64": False,
            "formFactors": [hints.form_factor],
        }
    return override
