"""What must stay secret is written down nowhere that it need not be."""

from __future__ import annotations

import json
import stat

import pytest

from stack.harness import Stack
from stack.home import locate
from tests.fakes.site import Site
from tests.integration.driving import Member, attach, command, manage, visit

pytestmark = pytest.mark.integration


def test_files_with_secrets_are_for_their_owner_alone(stack: Stack) -> None:
    home = locate(stack.home)
    for name in ("credentials.json", "stack.json", "lock"):
        assert stat.S_IMODE((stack.home / name).stat().st_mode) == 0o600, name
    for folder in (home.path, home.sockets, home.logs, home.postgres_data):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    assert stat.S_IMODE(home.runner_socket.stat().st_mode) == 0o600
    credentials = json.loads((stack.home / "credentials.json").read_text())
    assert credentials == {"api_url": stack.api_url, "api_key": stack.api_key}


def test_no_log_holds_a_secret(stack: Stack, member: Member, site: Site) -> None:
    made = json.loads((stack.home / "stack.json").read_text())
    agent = member.burner(initial_url=site.url("/hello?token=s3cr3t-in-a-query"))
    printed = manage(stack, "mint_key", member.workspace_id, "--name", "by hand").strip()
    with attach(agent["cdp_url"]) as cdp:
        command(cdp, "Runtime.evaluate", expression="document.cookie = 'session=s3cr3t-cookie'")
    capability = agent["cdp_http"].rpartition("/")[2]
    refused = agent["cdp_url"].replace(capability, capability[:-1] + "0")
    visit(refused.replace("ws://", "http://"))
    visit(agent["cdp_http"] + "/json/version")
    visit(stack.api_url + "/v1/agents", headers={"X-API-Key": "agt_live_" + "a" * 31})
    links = member.get(f"/v1/agents/{agent['id']}/live").json()
    gateway = agent["cdp_http"].partition("/api/")[0]
    for link in (links["live_url"], links["control_url"]):
        visit(link)
        visit(link + "/")
        visit(f"{gateway}/api/v1/live/{link.rpartition('/')[2]}")
    member.delete(f"/v1/agents/{agent['id']}")
    visit(agent["cdp_http"] + "/json/version")

    secrets = {
        "a client's key": member.key,
        "the first key": stack.api_key,
        "a key printed by hand": printed,
        "a capability": capability.partition("-")[2],
        "a link to watch": links["live_url"].rpartition("-")[2],
        "a link to steer": links["control_url"].rpartition("-")[2],
        "the runner's token": made["BROWSA_RUNNER_TOKEN"],
        "Django's key": made["BROWSA_SECRET_KEY"],
        "the vault's key": made["BROWSA_MASTER_KEYS"].partition(":")[2],
        "a malformed key": "a" * 31,
        "a query": "s3cr3t-in-a-query",
        "a cookie": "s3cr3t-cookie",
    }
    logs = {path.name: path.read_text(errors="replace") for path in stack.logs.iterdir()}
    logs["what the supervisor printed"] = stack.printed()
    assert {"api.log", "worker.log", "beat.log", "runner.log", "postgres.log", "redis.log"} <= logs.keys()
    assert not [(what, name) for name, text in logs.items() for what, secret in secrets.items() if secret in text]


def test_no_command_line_holds_a_secret(stack: Stack) -> None:
    made = json.loads((stack.home / "stack.json").read_text())
    secrets = [made[name] for name in ("BROWSA_RUNNER_TOKEN", "BROWSA_SECRET_KEY", "BROWSA_MASTER_KEYS")]
    for name, pid in stack.pids.items():
        with open(f"/proc/{pid}/cmdline") as file:
            line = file.read()
        assert not [secret for secret in secrets if secret in line], name
