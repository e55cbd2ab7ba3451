"""The fonts of Windows and macOS, by renaming free ones when fontconfig scans them.

Liberation has the metrics of Arial, Times New Roman and Courier New, Carlito those of Calibri, and DejaVu those of
Bitstream Vera, of which Verdana and Menlo are close relatives. A page sees that the names are there, and the widths.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

from runner.jail import FONT_CACHE

log = logging.getLogger("browsa.runner.fonts")

FONTS_FILE = "/etc/browsa/fonts.conf"  # in the jail
FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts")

# By set of fonts: which names the families of FOLDERS get. Linux has no entry: its fonts are those of the host.
NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "windows": {
        "Liberation Sans": ("Arial", "Microsoft Sans Serif"),
        "Liberation Sans Narrow": ("Arial Narrow",),
        "Liberation Serif": ("Times New Roman",),
        "Liberation Mono": ("Courier New",),
        "Carlito": ("Calibri", "Segoe UI"),
        "DejaVu Sans": ("Verdana", "Tahoma"),
        "DejaVu Sans Mono": ("Consolas", "Lucida Console"),
        "DejaVu Serif": ("Georgia", "Cambria"),
        "Noto Color Emoji": ("Segoe UI Emoji",),
    },
    "macos": {
        "Liberation Sans": ("Arial", "Helvetica", "Helvetica Neue"),
        "Liberation Sans Narrow": ("Arial Narrow",),
        "Liberation Serif": ("Times New Roman", "Times"),
        "Liberation Mono": ("Courier New", "Courier"),
        "Carlito": ("Lucida Grande", "Avenir"),
        "DejaVu Sans": ("Verdana", "Geneva"),
        "DejaVu Sans Mono": ("Menlo", "Monaco"),
        "DejaVu Serif": ("Georgia", "Palatino"),
        "Noto Color Emoji": ("Apple Color Emoji",),
    },
}
HIDDEN = ("DejaVu Math TeX Gyre",)
# What the generic families are on each system.
GENERIC: dict[str, dict[str, str]] = {
    "windows": {
        "sans-serif": "Arial",
        "serif": "Times New Roman",
        "monospace": "Consolas",
        "system-ui": "Segoe UI",
        "emoji": "Segoe UI Emoji",
    },
    "macos": {
        "sans-serif": "Helvetica",
        "serif": "Times",
        "monospace": "Menlo",
        "system-ui": "Helvetica Neue",
        "emoji": "Apple Color Emoji",
    },
}


def fonts_file(fonts: str, cache: str = FONT_CACHE) -> bytes:
    """fontconfig's configuration for a set of fonts, see fonts-conf(5). Raises KeyError for an unknown set.

    The salt gives each set its own caches: they hold the names after renaming.
    """
    lines = [f'<dir salt="{fonts}">{folder}</dir>' for folder in FOLDERS]
    lines.append(f"<cachedir>{escape(cache)}</cachedir>")
    for family in HIDDEN:
        pattern = f'<pattern><patelt name="family"><string>{family}</string></patelt></pattern>'
        lines.append(f"<selectfont><rejectfont>{pattern}</rejectfont></selectfont>")
    for family, names in NAMES[fonts].items():
        strings = "".join(f"<string>{name}</string>" for name in names)
        lines.append(
            f'<match target="scan"><test name="family"><string>{family}</string></test>'
            f'<edit name="family" mode="assign_replace">{strings}</edit></match>'
        )
    # As fontconfig's own 49-sansserif.conf: a name that no font has is a sans-serif one.
    tests = "".join(
        f'<test qual="all" name="family" compare="not_eq"><string>{generic}</string></test>'
        for generic in GENERIC[fonts]
    )
    edit = '<edit name="family" mode="append_last"><string>sans-serif</string></edit>'
    lines.append(f'<match target="pattern">{tests}{edit}</match>')
    for generic, family in GENERIC[fonts].items():
        lines.append(
            f"<alias binding='strong'><family>{generic}</family><prefer><family>{family}</family></prefer></alias>"
        )
    return "\n".join(['<?xml version="1.0"?>', "<fontconfig>", *lines, "</fontconfig>", ""]).encode()


def build_caches(folder: Path) -> None:
    """Write fontconfig's caches of all sets into a new `folder`. Without them each browser scans all fonts: 100 ms."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    program = shutil.which("fc-cache")
    if program is None:
        log.warning("fc-cache is missing (Debian: apt install fontconfig): browsers start slower")
        return
    for fonts in NAMES:
        with tempfile.NamedTemporaryFile(suffix=".conf") as file:
            file.write(fonts_file(fonts, str(folder)))
            file.flush()
            env = {"FONTCONFIG_FILE": file.name, "HOME": str(folder), "PATH": os.defpath}
            subprocess.run([program], env=env, check=False, capture_output=True, timeout=60)
