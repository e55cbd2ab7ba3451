"""Find the browsers on this machine. Standard library only: the bootstrap uses it before anything is installed.

The result is the program itself, never a distribution's wrapper script: a wrapper sets an environment and flags that
differ from machine to machine, and needs files that a jail does not have.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

CHROMIUM_VARIABLE = "BROWSA_CHROMIUM"
SHELL_VARIABLE = "BROWSA_CHROMIUM_SHELL"

_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
_SHELL_NAMES = ("chromium-headless-shell", "chrome-headless-shell", "headless_shell")

# Where distributions install the programs that their wrappers in /usr/bin start: Debian, Alpine and Arch; Fedora;
# openSUSE; Google's packages; macOS.
_CHROMIUM_PLACES = (
    "/usr/lib/chromium/chromium",
    "/usr/lib/chromium/chrome",
    "/usr/lib64/chromium-browser/chromium-browser",
    "/usr/lib64/chromium/chromium",
    "/usr/lib/chromium-browser/chromium-browser",
    "/opt/google/chrome/chrome",
    "/opt/chromium.org/chromium/chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
_SHELL_PLACES = (
    "/usr/lib/chromium/chromium-headless-shell",
    "/usr/lib/chromium/headless_shell",
    "/usr/lib64/chromium-browser/headless_shell",
    "/usr/lib64/chromium/headless_shell",
)
# Inside `ms-playwright/`. The directory names differ between Playwright versions.
_CHROMIUM_CACHED = ("chromium-*/chrome-linux*/chrome", "chromium-*/chrome-mac*/*.app/Contents/MacOS/*")
_SHELL_CACHED = (
    "chromium_headless_shell-*/*/headless_shell",
    "chromium_headless_shell-*/*/chrome-headless-shell",
)

_PROGRAM_MAGIC = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")  # ELF, Mach-O, universal Mach-O


def find_chromium(env: Mapping[str, str]) -> Path | None:
    """The full Chromium. Raises FileNotFoundError when `BROWSA_CHROMIUM` names no executable browser."""
    return _configured(env, CHROMIUM_VARIABLE, _CHROMIUM_PLACES) or _first_program(
        _candidates(env, _CHROMIUM_NAMES, _CHROMIUM_PLACES, _CHROMIUM_CACHED)
    )


def find_headless_shell(env: Mapping[str, str]) -> Path | None:
    """Chromium's headless shell. Raises FileNotFoundError as `find_chromium` does."""
    return _configured(env, SHELL_VARIABLE, _SHELL_PLACES) or _first_program(
        _candidates(env, _SHELL_NAMES, _SHELL_PLACES, _SHELL_CACHED)
    )


def _configured(env: Mapping[str, str], variable: str, places: Iterable[str]) -> Path | None:
    """The program that the operator has set, or that the wrapper there starts. There is no fallback to another one."""
    value = env.get(variable, "")
    if not value:
        return None
    path = Path(value).expanduser()
    program = _first_program(_programs_for(path, places)) if os.access(path, os.X_OK) else None
    if program is None:
        raise FileNotFoundError(f"{variable}={value} is not an executable browser")
    return program


def _candidates(
    env: Mapping[str, str], names: Iterable[str], places: Iterable[str], cached: Iterable[str]
) -> Iterator[Path]:
    for name in names:
        found = shutil.which(name, path=env.get("PATH", os.defpath))
        if found:
            yield from _programs_for(Path(found), places)
    yield from map(Path, places)
    for pattern in cached:
        yield from sorted(_playwright_cache(env).glob(pattern), key=_revision, reverse=True)


def _programs_for(path: Path, places: Iterable[str]) -> Iterator[Path]:
    """`path`, and if it is a wrapper, the programs that it may start: in its folder, or with its name in their path."""
    real = path.resolve()
    yield real
    if _is_program(real):
        return
    yield from (Path(place) for place in places if Path(place).parent == real.parent)
    yield from (Path(place) for place in places if path.name in place)


def _playwright_cache(env: Mapping[str, str]) -> Path:
    if env.get("PLAYWRIGHT_BROWSERS_PATH", "0") != "0":
        return Path(env["PLAYWRIGHT_BROWSERS_PATH"])
    home = Path(env.get("HOME") or Path.home())
    caches = home / "Library/Caches" if os.uname().sysname == "Darwin" else home / ".cache"
    return Path(env.get("XDG_CACHE_HOME") or caches) / "ms-playwright"


def _revision(path: Path) -> int:
    """The number in `…/chromium-1187/…`; the newest revision has the greatest."""
    digits = [part.rpartition("-")[2] for part in path.parts if part.startswith("chromium")]
    return int(digits[0]) if digits and digits[0].isdigit() else 0


def _first_program(candidates: Iterable[Path]) -> Path | None:
    return next((path for path in candidates if _is_program(path)), None)


def _is_program(path: Path) -> bool:
    """Whether `path` is a native executable. Snap's launcher is refused: what it starts is not visible in a jail."""
    if path.name == "snap" or not os.access(path, os.X_OK) or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in _PROGRAM_MAGIC
