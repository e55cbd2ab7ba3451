"""`python -m bench.identity`: runs public checkers, on loopback, in leased browsers and in Chromiums without Browsa.

The checkers come from npm, pinned in `package-lock.json`; they are installed at the first run. No part of the product
uses them. A windowed Chromium needs Xvfb.
"""

from __future__ import annotations

import asyncio
import http.server
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from apps.agents.harness_driver import HarnessError, driven
from runner.browsers import find_chromium
from tests.runner.harness import RunnerProcess

FOLDER = Path(__file__).parent
MODULES = FOLDER / "node_modules"
FAMILIES = ("macos", "windows", "linux")
DISPLAY = ":97"
START_SECONDS = 20.0


class _Files(http.server.SimpleHTTPRequestHandler):
    """The installed packages, and the page that loads them."""

    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript"}

    def translate_path(self, path: str) -> str:
        return str(FOLDER / "checkers.html") if path == "/" else super().translate_path(path)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def site() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(MODULES)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def plain(*flags: str, **environment: str) -> Iterator[str]:
    """The CDP address of the first page of a Chromium without Browsa."""
    binary = find_chromium(os.environ)
    if binary is None:
        raise SystemExit("no Chromium found")
    with tempfile.TemporaryDirectory(prefix="browsa-bench-") as profile:
        command = [binary, "--no-sandbox", "--no-first-run", f"--user-data-dir={profile}", *flags]
        process = subprocess.Popen(
            [*command, "--remote-debugging-port=0", "about:blank"],
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield _page_of(Path(profile) / "DevToolsActivePort")
        finally:
            process.terminate()
            process.wait()


def _page_of(port_file: Path) -> str:
    until = time.monotonic() + START_SECONDS
    while not (port_file.exists() and port_file.read_text().count("\n")):
        if time.monotonic() > until:
            raise SystemExit("Chromium did not start")
        time.sleep(0.05)
    port = port_file.read_text().split()[0]
    pages = httpx.get(f"http://127.0.0.1:{port}/json/list").json()
    return str(next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"))


def report(cdp_url: str, url: str) -> dict[str, Any]:
    with driven(cdp_url) as driver:
        found: dict[str, Any] = driver.read(url, "reports")
        return found


async def leased(url: str, port: int) -> dict[str, dict[str, Any]]:
    """The reports of one browser of each OS family."""
    process = RunnerProcess(BROWSA_POOL_SIZE="1", BROWSA_ALLOW_ADDRESSES=f"127.0.0.1:{port}")
    try:
        await process.start().ready()
        reports = {}
        for family in FAMILIES:
            async with process.lease(os_family=family) as lease:
                reports[f"Browsa, {family}"] = await asyncio.to_thread(report, lease.cdp_url, url)
        return reports
    finally:
        process.clean()


def windowed(url: str) -> dict[str, dict[str, Any]]:
    """Nothing without Xvfb."""
    if shutil.which("Xvfb") is None:
        print("Xvfb is not installed: no windowed Chromium")
        return {}
    with ExitStack() as stack:
        screen = stack.enter_context(subprocess.Popen(["Xvfb", DISPLAY, "-screen", "0", "1920x1080x24"]))  # noqa: S607
        stack.callback(screen.terminate)
        address = stack.enter_context(plain("--window-size=1920,1053", DISPLAY=DISPLAY))
        return {"Chromium with a window": report(address, url)}


def main() -> None:
    if not MODULES.exists():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=FOLDER, check=True)  # noqa: S607
    with site() as port:
        url = f"http://127.0.0.1:{port}/"
        try:
            with plain("--headless=new") as address:
                reports = {"Chromium, headless": report(address, url)}
            reports |= {**windowed(url), **asyncio.run(leased(url, port))}
        except HarnessError as error:
            raise SystemExit(str(error)) from error
    print("| browser | BotD | fpscanner | FingerprintJS, confidence |")
    print("|---|---|---|---|")
    for name, found in reports.items():
        scanned = ", ".join(found["fpscanner"]) or "nothing"
        print(f"| {name} | {found['botd'] or 'nothing'} | {scanned} | {found['confidence']:g} |")


if __name__ == "__main__":
    main()
