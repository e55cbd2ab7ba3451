"""What a full Chromium is started with, so that its processes have a fingerprint from their first instruction. Pure.

Every page, frame and worker inherits what is set here. `runner.identity.emulator` sets what has no flag.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from fingerprints import Fingerprint
from runner.identity.fonts import FONTS_FILE, NAMES, fonts_file
from runner.jail import HOME

PREFERENCES = f"{HOME}/profile/Default/Preferences"

# Values of Blink's settings (third_party/blink/public/common/web_preferences: ui::PointerType and ui::HoverType).
COARSE, FINE = 2, 4
NO_HOVER, HOVERS = 1, 2
PERMISSION_VALUES = {"allow": 1, "block": 2}  # ContentSetting


@dataclass(frozen=True, slots=True)
class Launch:
    """`files` are read-only files of the jail by path, `own_files` those that Chromium may change.

    `jail_environment` are variables that name such files.
    """

    flags: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    jail_environment: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    own_files: dict[str, bytes] = field(default_factory=dict)


def launch_of(fingerprint: Fingerprint) -> Launch:
    """The settings for a jailed full Chromium."""
    display, language = fingerprint.display, fingerprint.locale.partition("-")[0]
    blink = {
        "primaryPointerType": COARSE if fingerprint.mobile else FINE,
        "availablePointerTypes": COARSE if fingerprint.mobile else FINE,
        "primaryHoverType": NO_HOVER if fingerprint.mobile else HOVERS,
        "availableHoverTypes": NO_HOVER if fingerprint.mobile else HOVERS,
    }
    screen = (
        f"{display.physical_width}x{display.physical_height} devicePixelRatio={display.scale}"
        f" colorDepth={display.color_depth}"
        f" workAreaTop={round(display.top * display.scale)} workAreaBottom={round(display.bottom * display.scale)}"
    )
    flags = [
        f"--user-agent={fingerprint.user_agent}",
        f"--accept-lang={fingerprint.accept_language}",
        f"--lang={fingerprint.locale}",
        f"--screen-info={{{screen}}}",
        f"--window-size={display.window_width},{display.window_height}",
        f"--window-position=0,{display.top}",
        f"--blink-settings={','.join(f'{name}={value}' for name, value in blink.items())}",
    ]
    if fingerprint.media_devices == "masked":
        flags.append("--use-fake-device-for-media-stream")  # a camera, microphones and speakers, without labels
    return Launch(
        flags=tuple(flags),
        environment={
            "TZ": fingerprint.timezone,
            "LANGUAGE": f"{fingerprint.locale.replace('-', '_')}:{language}",
        },
        jail_environment={"FONTCONFIG_FILE": FONTS_FILE} if fingerprint.fonts in NAMES else {},
        files={FONTS_FILE: fonts_file(fingerprint.fonts)} if fingerprint.fonts in NAMES else {},
        own_files=_preferences(fingerprint),
    )


def _preferences(fingerprint: Fingerprint) -> dict[str, bytes]:
    """The file of a profile whose permissions are not Chromium's own."""
    if fingerprint.geolocation.mode == "prompt":
        return {}
    content = {"geolocation": PERMISSION_VALUES[fingerprint.geolocation.mode]}
    return {PREFERENCES: json.dumps({"profile": {"default_content_setting_values": content}}).encode()}
