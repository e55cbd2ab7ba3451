"""`make demo`: starts a separate stack, drives one agent, runs one task, prints the ledger and stops the stack."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from stack import demo_task, remains
from stack.harness import Stack, running_stack
from stack.home import StackError
from stack.launch import adopt_orphans

SCREENSHOT = "demo.png"
_TEXT_LINES = 14
_PAGE = Path(__file__).with_name("demo_site.html")


def run(url: str | None) -> int:
    """Returns the exit status: 1 when a step failed or a process is still running."""
    begun = time.monotonic()
    counted = adopt_orphans()
    home = Path(tempfile.mkdtemp(prefix="browsa-demo-"))
    try:
        with _site() if url is None else contextlib.nullcontext() as own_port, demo_task.chosen_model() as model:
            env = {"BROWSA_POOL_SIZE": "1", "BROWSA_MAX_BROWSERS": "2"}
            own = [f"127.0.0.1:{own_port}"] if own_port else []
            env["BROWSA_ALLOW_ADDRESSES"] = ",".join([*own, *filter(None, [model.address])])
            if "EGRESS_COUNTRIES" in os.environ:
                env["EGRESS_COUNTRIES"] = os.environ["EGRESS_COUNTRIES"]
            print("Starting a separate stack")
            with running_stack(home, env=env, show=sys.stdout.write) as stack:
                _run_steps(stack, url or f"http://127.0.0.1:{own_port}/", model)
                print("\nStopping the stack", flush=True)
    except StackError as error:
        print(f"\nThe demo failed. {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if counted and not _nothing_left():
        return 1
    print(f"Done in {time.monotonic() - begun:.1f} s")
    return 0


def _run_steps(stack: Stack, url: str, model: demo_task.DemoModel) -> None:
    import httpx  # imported here because it takes as long as starting a database

    with httpx.Client(base_url=stack.api_url, headers={"X-API-Key": stack.api_key}, timeout=130) as api:
        api.get("/healthz")  # opens the connection, so that the first measured call does not include it
        _drive_agent(api, url)
        _run_task(api, url, model)
        print("\nThe ledger, newest first:\n")
        entries = _call(api, "GET", "/v1/credits/ledger")["entries"]
        print("\n".join(table(entries)))
        print(f"\n  balance {_call(api, 'GET', '/v1/credits')['balance']} credits")


def _drive_agent(api: Any, url: str) -> None:
    begun = time.monotonic()
    agent = _call(api, "POST", "/v1/agents", json={"initial_url": url})
    provisioned = time.monotonic() - begun
    print(f"\nPOST /v1/agents → {agent['id']}: {agent['os_type']}, {agent['country']}, {agent['status']}")
    print(f"cdp_url {agent['cdp_url']}\n")
    try:
        attached, loaded = _open_page(agent["cdp_url"], url)
    finally:
        _call(api, "DELETE", f"/v1/agents/{agent['id']}")
    print(f"\n  provision {provisioned * 1000:6.0f} ms    POST /v1/agents to 201")
    print(f"  attach    {attached * 1000:6.0f} ms    Playwright over cdp_url")
    print(f"  page      {loaded * 1000:6.0f} ms    loaded, after the attach")
    print(f"\nDELETE /v1/agents/{agent['id']} → destroyed")


def _run_task(api: Any, url: str, model: demo_task.DemoModel) -> None:
    """Raises StackError when the task is not completed."""
    job = _call(api, "POST", "/v1/tasks", json=demo_task.task_body(model, url))
    print(f"\nPOST /v1/tasks → {job['id']}, model: {model.name}\n", flush=True)
    job = _call(api, "GET", f"/v1/jobs/{job['id']}?wait=120")
    events = _call(api, "GET", f"/v1/jobs/{job['id']}/events")["events"]
    print("\n".join(demo_task.summary(job, [event["data"] for event in events if event["type"] == "step"])))
    if job["status"] != "completed":
        raise StackError("The task was not completed. See above.")


def _open_page(cdp_url: str, url: str) -> tuple[float, float]:
    """Attach and show the page. Returns the seconds until attached, and the seconds from there until loaded."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        begun = time.monotonic()
        try:
            browser = playwright.chromium.connect_over_cdp(cdp_url, timeout=30_000)
            attached = time.monotonic()
            page = browser.contexts[0].pages[0]
            # the API does not wait for `initial_url`: the page may still be loading
            page.wait_for_url(lambda now: now != "about:blank", timeout=30_000)
            loaded = time.monotonic()
            print(f"  title  {page.title()}")
            lines = [line.strip() for line in page.inner_text("body").splitlines() if line.strip()]
            for line in lines[:_TEXT_LINES]:
                print(f"  │ {line[:100]}")
            if len(lines) > _TEXT_LINES:
                print(f"  │ … {len(lines) - _TEXT_LINES} more lines")
            if page.url.startswith("chrome-error:"):
                raise StackError(f"The browser could not reach {url}. Its error page is shown above.")
            page.screenshot(path=SCREENSHOT)
            print(f"\n  screenshot saved as {SCREENSHOT}")
            browser.close()
        except Error as error:
            raise StackError(f"The browser could not show {url}: {error.message.splitlines()[0]}") from error
    return attached - begun, loaded - attached


def table(entries: list[dict[str, Any]]) -> list[str]:
    """Ledger entries as aligned lines with a heading."""
    rows = [["seq", "kind", "amount", "balance", "what"]]
    for entry in entries:
        what = entry.get("description") or entry.get("reference") or ""
        rows.append([str(entry["seq"]), entry["kind"], f"{entry['amount']:+d}", str(entry["balance_after"]), what])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    justified = (str.rjust, str.ljust, str.rjust, str.rjust, str.ljust)
    return [
        "  " + "  ".join(to(cell, width) for to, cell, width in zip(justified, row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _call(api: Any, method: str, path: str, **options: Any) -> Any:
    """Make one API call. Raises StackError with the API's error text when it fails."""
    import httpx

    try:
        answer = api.request(method, path, **options)
    except httpx.HTTPError as error:
        raise StackError(f"{method} {path}: {error}") from error
    if answer.is_success:
        return answer.json() if answer.content else None
    raise StackError(f"{method} {path} answered {answer.status_code}: {answer.text[:500]}")


def _nothing_left() -> bool:
    left = remains.wait_for_none(patience=5.0)
    for pid, command in left.items():
        print(f"Still running: {pid} {command[:120]}", file=sys.stderr)
    if not left:
        print("No process is left running.")
    return not left


@contextmanager
def _site() -> Iterator[int]:
    """Serve the demo's page on a free loopback port, so that the demo needs no network."""
    page = _PAGE.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
