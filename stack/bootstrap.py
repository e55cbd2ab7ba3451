"""Make this machine ready for a `make` goal. Standard library only: nothing is installed when it runs.

    python3 -I stack/bootstrap.py up|demo|test|test-fast|check|bench|lock

Every step first checks whether its work is already done, so a second run takes a fraction of a second. A step
that does work prints one line. A step that fails prints the reason and what to do; the exit status is then 1.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
UV_VERSION = "0.13.9"
OLDEST_PYTHON = (3, 11)

_NODE_CLIENTS = ROOT / "tests" / "node"
# A client of the same API by another publisher. Its package has the name of ours, so it gets a folder of its own.
_PUBLIC_CLIENT, _PUBLIC_CLIENT_FOLDER = "browsa==0.1.3", VENV / "public-client"
# Debian's packages of the fonts that `runner.identity.fonts` renames, and a file of each.
_FONTS = {
    "fonts-dejavu-core": "dejavu/DejaVuSans.ttf",
    "fonts-liberation": "liberation/LiberationSans-Regular.ttf",
    "fonts-crosextra-carlito": "crosextra/Carlito-Regular.ttf",
    "fonts-noto-color-emoji": "noto/NotoColorEmoji.ttf",
    "fontconfig": "../../../bin/fc-cache",
}
_BROWSER_DOWNLOAD_SECONDS = 120
_INSTALL_SECONDS = 1800
_SETUP: dict[str, tuple[str, ...]] = {
    "up": ("requirements", "browsers", "fonts", "jail"),
    "demo": ("requirements", "browsers", "fonts", "jail"),
    "bench": ("dev requirements", "browsers", "fonts", "jail"),
    "test": ("dev requirements", "browsers", "fonts", "jail", "node clients", "public client"),
    "test-fast": ("dev requirements",),
    "check": ("dev requirements",),
    "lock": (),
}


class BootstrapError(Exception):
    """A step failed. The text says why and what to do."""


def main(goal: str) -> None:
    need_python()
    sys.path.insert(0, str(ROOT))  # for runner.browsers, which imports only the standard library
    # One bootstrap at a time: `make test` in a second terminal waits until the first one has installed everything.
    root = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(root, fcntl.LOCK_EX)
    ensure_venv()
    steps = _SETUP[goal]
    if "requirements" in steps:
        ensure_requirements("requirements.txt")
    if "dev requirements" in steps:
        ensure_requirements("requirements.txt", "requirements-dev.txt")
    if "browsers" in steps:
        ensure_browsers()
    if "fonts" in steps:
        ensure_fonts_and_languages()
    if "jail" in steps:
        ensure_bubblewrap()
    if "node clients" in steps:
        ensure_node_clients()
    if "public client" in steps:
        ensure_public_client()


def need_python() -> None:
    """Return if this Python is new enough. Otherwise exec a newer one that is found by name (`python3.12`)."""
    if sys.version_info >= OLDEST_PYTHON:
        return
    for minor in range(20, OLDEST_PYTHON[1] - 1, -1):
        newer = shutil.which(f"python3.{minor}")
        if newer:
            os.execv(newer, [newer, "-I", *sys.argv])  # noqa: S606
    raise BootstrapError(
        f"Browsa needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}. "
        "Install one and name it: make PYTHON=/path/to/python3.12 …"
    )


def ensure_venv() -> None:
    python = VENV / "bin" / "python"
    if not _runs([str(python), "-c", ""]):
        if VENV.exists():
            shutil.rmtree(VENV)  # incomplete, or its Python was removed
        _make_venv()
    if not (VENV / "bin" / "uv").exists():
        install = [str(python), "-m", "pip", "install", "--quiet", f"uv=={UV_VERSION}"]
        run("Installing uv into it", install, "Is there a network, or a PyPI mirror in pip's configuration?")


def _make_venv() -> None:
    make = [sys.executable, "-m", "venv", str(VENV)]
    advice = "Install your system's python3-venv package."
    try:
        run("Creating .venv", make, advice)
    except BootstrapError:  # Debian ships venv's ensurepip in a separate package
        shutil.rmtree(VENV, ignore_errors=True)
        if not apt_install(f"python3.{sys.version_info.minor}-venv"):
            raise
        run("Creating .venv", make, advice)


def ensure_requirements(*names: str) -> None:
    """Install the pinned requirements unless files with the same content were installed before."""
    stamp = VENV / "browsa-requirements"
    wanted = {f"{name} {_digest(ROOT / name)}" for name in names}
    installed = set(stamp.read_text().splitlines()) if stamp.exists() else set()
    if wanted <= installed:
        return
    files = [item for name in names for item in ("-r", str(ROOT / name))]
    python = str(VENV / "bin" / "python")
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", "--python", python, *files]
    advice = "Is there a network, or a PyPI mirror (UV_INDEX_URL, pip's configuration)?"
    try:
        run(f"Installing {' and '.join(names)}", uv, advice)
    except BootstrapError:  # the mirror may be configured for pip only
        run("Trying again with pip", [python, "-m", "pip", "install", "--quiet", *files], advice)
    current = {f"{name} {_digest(ROOT / name)}" for name in ("requirements.txt", "requirements-dev.txt")}
    stamp.write_text("\n".join(sorted((installed & current) | wanted)) + "\n")


def ensure_browsers() -> None:
    """Find or install the full Chromium, which is required, and its headless shell, which is optional but faster.

    Order: an installed browser, Playwright's build, the system's package. The last is also tried when Playwright's
    build does not start because system libraries are missing.
    """
    from runner.browsers import CHROMIUM_VARIABLE, SHELL_VARIABLE, find_chromium, find_headless_shell

    without_shell = VENV / "browsa-without-shell"  # a failed installation is not repeated at every start
    finders = {"chromium": find_chromium, "chromium-headless-shell": find_headless_shell}
    try:
        missing = [name for name, find in finders.items() if find(os.environ) is None]
    except FileNotFoundError as error:
        raise BootstrapError(f"{error}. Correct or unset it.") from error
    if not missing or (missing == ["chromium-headless-shell"] and without_shell.exists()):
        return
    playwright = [str(VENV / "bin" / "playwright"), "install", *missing]
    attempt("Downloading Chromium (playwright install)", playwright, _BROWSER_DOWNLOAD_SECONDS)
    for name in missing:  # one at a time: not every Debian or Ubuntu release has the shell's package
        if not _works(finders[name](os.environ)):
            apt_install(name)
    if not _works(find_chromium(os.environ)):
        raise BootstrapError(
            "No working Chromium was found. Install it with your system's package manager (Debian: apt install "
            f"chromium; Fedora: dnf install chromium), or set {CHROMIUM_VARIABLE} to the path of one."
        )
    if not _works(find_headless_shell(os.environ)):
        without_shell.touch()
        say(f"No headless shell: the full Chromium loads quick pages, slower. Set {SHELL_VARIABLE} to use a shell.")


def ensure_fonts_and_languages() -> None:
    """Install what makes identities differ in fonts and language, on Debian. Without it they all look like this host.

    Language packs are needed only for Debian's Chromium: other builds contain them.
    """
    files = {package: Path("/usr/share/fonts/truetype") / name for package, name in _FONTS.items()}
    locales = Path("/usr/lib/chromium/locales")
    if locales.is_dir():
        files["chromium-l10n"] = locales / "de.pak"
    without = VENV / "browsa-without-fonts"  # a failed installation is not repeated at every start
    missing = [package for package, file in files.items() if not file.exists()]
    if not missing or not shutil.which("apt-get") or without.exists():
        return
    if not all([apt_install(package) for package in missing]):
        without.touch()
        say("Identities show the fonts and languages of this host, because packages are missing.")


def ensure_bubblewrap() -> None:
    if sys.platform != "linux" or os.environ.get("BROWSA_JAIL") == "off" or shutil.which("bwrap"):
        return
    apt_install("bubblewrap")
    if not shutil.which("bwrap"):
        raise BootstrapError(
            "bubblewrap, which makes the browsers' jails, is missing. Install it with your system's package manager "
            "(Debian: apt install bubblewrap; Fedora: dnf install bubblewrap). BROWSA_JAIL=off runs browsers "
            "without a jail, for development only."
        )


def ensure_node_clients() -> None:
    """Install Puppeteer and Playwright for Node. Tests that need them are skipped when they are missing."""
    modules, stamp = _NODE_CLIENTS / "node_modules", _NODE_CLIENTS / "node_modules" / ".browsa-stamp"
    lock = _NODE_CLIENTS / "package-lock.json"
    if not lock.exists() or (stamp.exists() and stamp.read_text() == _digest(lock)):
        return
    if not (shutil.which("npm") and shutil.which("node")):
        say("Node.js is not installed: the tests that use Node clients are skipped.")
        return
    command = ["npm", "ci", "--prefix", str(_NODE_CLIENTS), "--ignore-scripts", "--no-audit", "--no-fund"]
    if attempt("Installing the Node clients for the tests", command, 300) and modules.exists():
        stamp.write_text(_digest(lock))


def ensure_public_client() -> None:
    """For the test that plays it against a stack, which is skipped without it."""
    if (_PUBLIC_CLIENT_FOLDER / "browsa").exists():
        return
    uv = [str(VENV / "bin" / "uv"), "pip", "install", "--quiet", "--no-deps", "--target", str(_PUBLIC_CLIENT_FOLDER)]
    attempt(f"Installing {_PUBLIC_CLIENT} for the tests", [*uv, _PUBLIC_CLIENT], 120)


def apt_install(package: str) -> bool:
    """Install a Debian package as root or with sudo. Returns False, and prints the reason, when that is impossible."""
    if not shutil.which("apt-get"):
        return False
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and not (shutil.which("sudo") and _runs(["sudo", "-n", "true"])):
        say(f"Not root, and sudo needs a password. Install the package yourself: sudo apt-get install {package}")
        return False
    apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    _update_lists(tuple(apt))
    install = [*apt, "install", "-y", "--no-install-recommends", package]
    return attempt(f"Installing {package} (apt-get install)", install, _INSTALL_SECONDS)


@functools.cache  # once in each run is enough
def _update_lists(apt: tuple[str, ...]) -> None:
    attempt("Refreshing the package lists (apt-get update)", [*apt, "update"], _INSTALL_SECONDS)


def run(what: str, command: list[str], advice: str) -> None:
    """Run a step. Raises BootstrapError when it fails."""
    if not attempt(what, command, _INSTALL_SECONDS):
        raise BootstrapError(f"{what} failed. {advice}")


def attempt(what: str, command: list[str], seconds: float) -> bool:
    """Run a step for at most `seconds` and print its name and duration. On failure print the end of its output."""
    sys.stdout.write(f"· {what} … ")
    sys.stdout.flush()
    begun = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except BaseException as error:  # also on Ctrl-C: kill the whole process group
            os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            output, _ = process.communicate()
            output += f"\nstopped after {seconds:.0f} s"
    print(f"{time.monotonic() - begun:.1f} s" if process.returncode == 0 else "failed:")
    if process.returncode != 0:
        print("\n".join(f"    {line}" for line in output.strip().splitlines()[-12:]))
    return process.returncode == 0


def say(text: str) -> None:
    print(f"· {text}")


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _works(browser: Path | None) -> bool:
    return browser is not None and _runs([str(browser), "--version"])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in _SETUP:
        raise SystemExit(f"usage: bootstrap.py {'|'.join(_SETUP)}")
    try:
        main(sys.argv[1])
    except BootstrapError as error:
        raise SystemExit(f"\n{error}") from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None
