"""The public Python client `browsa` 0.1.3, unchanged, against a stack: all calls but those of persistent identities."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stack.bootstrap import VENV
from stack.harness import Stack
from tests.fakes.model import AskHuman, Done, ScriptedModel
from tests.fakes.site import Site
from tests.integration.driving import Member
from tests.patience import PATIENCE

CLIENT = VENV / "public-client"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not (CLIENT / "browsa").exists(), reason="the public client could not be installed"),
]


@pytest.fixture
def gave(stack: Stack, member: Member, site: Site, model: ScriptedModel, tmp_path: Path) -> dict[str, Any]:
    model.play("greet", [Done("Hello.")])
    model.play("ask", [AskHuman("Which one?"), Done("It is the red one.")])
    receiver = site.url("/hooks")
    script = Path(__file__).with_name("public_client.py")
    arguments = [stack.api_url, member.key, site.url("").rstrip("/"), model.base_url, receiver]
    played = subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CLIENT)},
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
    )
    assert played.returncode == 0, played.stderr
    result: dict[str, Any] = json.loads(played.stdout)
    return result


def test_every_call_gives_what_the_client_reads(gave: dict[str, Any], member: Member, site: Site) -> None:
    assert gave["credits"]["balance"] == 100
    agent = gave["create_agent"]
    assert (gave["get_agent"], gave["destroyed"], gave["list_identities"]) == ("running", "destroyed", [agent["id"]])
    assert agent["warnings"] == []
    chosen = gave["create_chosen"]
    assert [text.partition(":")[0] for text in chosen["warnings"]] == ["ja3_profile"]
    shown = gave["fingerprint"]
    assert {"navigator", "screen", "webgl", "timezone", "locale", "canvas", "audio", "tls"} <= set(shown)
    assert (shown["screen"]["width"], shown["screen"]["height"]) == (1366, 768)
    assert (shown["warnings"], shown["timezone"]) == (chosen["warnings"], "America/New_York")
    trust = gave["trust_breakdown"]
    assert sum(one["points"] for one in trust["inputs"]) == trust["trust_score"] == chosen["trust_score"]
    assert gave["get_cdp_url"] == agent["cdp_url"] and gave["connect"] == agent["cdp_http"]

    assert gave["scrape"]["url"] == site.url("/hello") and gave["scrape"]["text"]
    assert len(set(gave["scrape_once"])) == 1
    assert (gave["scrape_async"], gave["scrape_done"]) == ("queued", site.url("/hello"))
    assert (gave["extract"]["prompt"], gave["extract"]["schema"]) == ("the heading", None)
    assert gave["screenshot"] > 1000
    assert (gave["batch"], gave["crawl"], gave["auto"]) == (2, 1, "scrape")

    assert gave["run_task"] == [True, "Hello.", "browser-use"]
    assert gave["input_question"] == "Which one?"
    assert gave["respond"] in ("queued", "running")
    assert gave["answered"] == "It is the red one."
    assert gave["cancelled"] == ["cancelled", "CANCELLED", "cancelled"]

    assert gave["list_webhooks"] is True and gave["signing_secret"].startswith("whsec_")
    assert gave["list_keys"] == 2
    assert gave["list_team"] == {"members": []}
    newest = gave["ledger"]["entries"][0]
    assert gave["ledger"]["count"] == 3
    assert gave["ledger"]["balance"] == newest["balance"] == member.credits()[0]
    assert {"delta", "reason", "agent_id", "created_at"} <= set(newest)
    assert gave["error_scrape"] == [400, "BAD_REQUEST", True]
    assert gave["error_get_job"] == [400, "INVALID_ID", True]
