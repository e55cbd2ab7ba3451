"""The README's snippets, run in order in one shell as a newcomer would paste them.

A block is run when the line above it says `<!-- test: NAME -->`. One thing is changed in them: `https://example.com`
becomes a site of our own on loopback, so that they pass without a network; and a task's model plays a script.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stack.child import ROOT
from stack.harness import own_environment
from tests.fakes.model import Done, Navigate, ScriptedModel
from tests.patience import PATIENCE
from tests.template import running_stack

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^<!-- test: (\w+) -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NODE_MODULES = ROOT / "tests" / "node" / "node_modules"
TITLE = "Example Domain"


hooked = threading.Event()  # a signed event has arrived


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = f"<!doctype html><title>{TITLE}</title>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        if "X-Agents-Signature" in self.headers:
            hooked.set()

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@contextmanager
def site() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each block printed, by its name."""
    place = tmp_path_factory.mktemp("readme")
    if NODE_MODULES.exists():
        (place / "node_modules").symlink_to(NODE_MODULES)
    with site() as port, ScriptedModel() as model:
        model.play("readme", [Navigate(f"http://127.0.0.1:{port}/"), Done(TITLE)])
        env = {
            "BROWSA_POOL_SIZE": "1",
            "BROWSA_MAX_BROWSERS": "2",
            "BROWSA_RATE_LIMITS": "off",  # a Redis that takes half a second to answer makes them refuse
            "BROWSA_ALLOW_ADDRESSES": f"127.0.0.1:{port},127.0.0.1:{model.port}",
        }
        (place / "all.sh").write_text(script(f"http://127.0.0.1:{port}/", model.base_url, place))
        with running_stack(place / ".browsa", env=env):
            done = subprocess.run(
                ["bash", "all.sh"],
                cwd=place,
                env=own_environment(os.environ),
                capture_output=True,
                text=True,
                timeout=4 * PATIENCE,
                check=False,
            )
            assert done.returncode or hooked.wait(PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = re.split(r"^=== (\w+)\n", done.stdout, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def script(url: str, model: str, place: Path) -> str:
    """One shell script of every block; those in other languages are files beside it."""
    lines = ["set -e"]
    for name, language, code in BLOCK.findall(README):
        code = re.sub(r"https://example\.com/?", url, code)
        code = code.replace("anthropic:claude-haiku-4-5", f'anthropic:claude-readme", "llm_base_url": "{model}')
        if language == "js":
            if not NODE_MODULES.exists():
                continue
            (place / f"{name}.mjs").write_text(code)
            code = f"node {name}.mjs\n"
        elif language == "python":
            (place / f"{name}.py").write_text(code)
            code = f"{sys.executable} {name}.py\n"
        lines += [f"echo; echo '=== {name}'", code]
    return "\n".join(lines)


def test_curl_provisions(printed: dict[str, str]) -> None:
    agent = json.loads(printed["curl"])

    assert agent["status"] == "running"
    assert agent["cdp_url"].startswith("ws://127.0.0.1:")


def test_python_drives_a_browser_with_the_identity_it_asked_for(printed: dict[str, str]) -> None:
    title, user_agent = printed["python"].strip().split(" | ")

    assert title == TITLE
    assert "Windows NT 10.0" in user_agent


@pytest.mark.skipif(not NODE_MODULES.exists(), reason="no Node clients here")
def test_node_drives_a_browser(printed: dict[str, str]) -> None:
    assert printed["node"].strip() == TITLE


def test_a_raw_client_speaks_to_the_page(printed: dict[str, str]) -> None:
    assert printed["raw_python"].strip() == "MacIntel"


def test_the_end_is_a_bill(printed: dict[str, str]) -> None:
    status, credits, ledger = printed["end"].strip().splitlines()[0], *_objects(printed["end"])

    assert status == "204"
    assert credits["held"] == 0
    assert ledger["entries"][0]["kind"] == "capture"


def test_a_webhook_is_registered_and_pinged(printed: dict[str, str]) -> None:
    ping, _, secret = _objects(printed["webhook"])

    assert ping["event_type"] == "webhook.test"
    assert str(secret["secret"]).startswith("whsec_")


def test_a_task_is_done(printed: dict[str, str]) -> None:
    job, events = _objects(printed["task"])

    assert isinstance(job["result"], dict) and isinstance(events["events"], list)
    assert (job["status"], job["result"]["final_result"]) == ("completed", TITLE)
    assert [event["type"] for event in events["events"]].count("step") == 2


def _objects(text: str) -> list[dict[str, object]]:
    decoder, found, at = json.JSONDecoder(), [], text.find("{")
    while at >= 0:
        value, end = decoder.raw_decode(text, at)
        found.append(value)
        at = text.find("{", end)
    return found


def test_every_runnable_block_is_run() -> None:
    unmarked = re.findall(r"(?<!-->\n)^```(?:sh|python|js)$", README, re.MULTILINE)

    assert unmarked == []
