"""A running stack seen from three sides: its API, its database, and the processes of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg2
from psycopg2.extras import RealDictCursor
from websockets.sync.client import ClientConnection, connect

from runner import jail
from stack.child import ROOT
from stack.harness import Stack, own_environment
from stack.home import locate
from tests.patience import PATIENCE, until

T = TypeVar("T")


def plain_http(timeout: float = PATIENCE, **options: Any) -> httpx.Client:
    """A client that doesn't speak TLS, and so is ready at once: httpx' own takes longer to make than most calls."""
    return httpx.Client(transport=httpx.HTTPTransport(verify=False), timeout=timeout, **options)


def visit(url: str, **options: Any) -> httpx.Response:
    """GET, on a connection of its own."""
    with plain_http() as http:
        return http.get(url, **options)


def at_once(count: int, act: Callable[[int], T]) -> list[T]:
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(act, range(count)))


@dataclass(frozen=True)
class Member:
    """A workspace of its own, with a key to it, on a running stack."""

    stack: Stack
    workspace_id: str
    key: str
    http: httpx.Client = field(repr=False)

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"X-API-Key": self.key, **options.pop("headers", {})}
        return self.http.request(method, self.stack.api_url + path, headers=headers, **options)

    def get(self, path: str) -> httpx.Response:
        return self.call("GET", path)

    def post(self, path: str, body: object = None) -> httpx.Response:
        return self.call("POST", path, json={} if body is None else body)

    def delete(self, path: str) -> httpx.Response:
        return self.call("DELETE", path)

    def burner(self, **fields: Any) -> dict[str, Any]:
        answer = self.post("/v1/agents", fields)
        assert answer.status_code == 201, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def agent(self, agent_id: str) -> dict[str, Any]:
        answer = self.get(f"/v1/agents/{agent_id}")
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def ended(self, agent_id: str) -> dict[str, Any]:
        """The agent, once it is over."""
        return until(
            lambda: body if (body := self.agent(agent_id))["status"] in ("destroyed", "failed") else None,
            what=f"the end of {agent_id}",
        )

    def credits(self) -> tuple[int, int]:
        """Balance, and how much of it is held."""
        body = self.get("/v1/credits").json()
        return body["balance"], body["held"]

    def ledger(self) -> list[dict[str, Any]]:
        """Oldest first."""
        body = self.get("/v1/credits/ledger?limit=200").json()
        assert body["next_cursor"] is None
        return list(reversed(body["entries"]))

    def kinds(self, agent_id: str) -> list[tuple[str, int]]:
        """Kind and amount of each line about one agent."""
        return [(line["kind"], line["amount"]) for line in self.ledger() if line["agent_id"] == agent_id]

    def leave(self) -> None:
        """Ends the agents that still run, so that the next test has their browsers."""
        for agent in self.get("/v1/agents").json()["agents"]:
            if agent["status"] == "running":
                self.delete(f"/v1/agents/{agent['id']}")


class Database:
    """The stack's own PostgreSQL, for looking at what no endpoint shows yet."""

    def __init__(self, stack: Stack) -> None:
        self._url = json.loads((stack.home / "stack.json").read_text())["DATABASE_URL"]

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        with (
            contextlib.closing(psycopg2.connect(self._url, connect_timeout=int(PATIENCE))) as connection,
            connection.cursor(cursor_factory=RealDictCursor) as cursor,
        ):
            cursor.execute(sql, values)
            return [dict(row) for row in cursor.fetchall()]

    def change(self, sql: str, *values: object) -> None:
        with contextlib.closing(psycopg2.connect(self._url, connect_timeout=int(PATIENCE))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, values)

    def events(self, agent_id: str) -> list[tuple[str, dict[str, Any]]]:
        found = self.rows(
            "SELECT type, data FROM webhooks_outboxevent WHERE data->>'agent_id' = %s ORDER BY created_at", agent_id
        )
        return [(row["type"], row["data"]) for row in found]

    def told_at(self, agent_id: str) -> float:
        """When the books last learned something of the agent, as Unix time."""
        sql = "SELECT max(created_at) AS at FROM webhooks_outboxevent WHERE data->>'agent_id' = %s"
        at: datetime = self.rows(sql, agent_id)[0]["at"]
        return at.timestamp()

    def reason(self, agent_id: str) -> str:
        (row,) = self.rows("SELECT end_reason FROM agents_agent WHERE id = %s", agent_id)
        reason: str = row["end_reason"]
        return reason

    def live_agents(self) -> set[str]:
        return {row["id"] for row in self.rows("SELECT id FROM agents_agent WHERE status IN ('queued', 'running')")}

    def open_holds(self) -> set[str]:
        return {row["agent_id"] for row in self.rows("SELECT agent_id FROM billing_hold WHERE status = 'open'")}

    def ticks_since(self, moment: str) -> set[str]:
        found = self.rows("SELECT name FROM core_beattick WHERE finished_at > %s AND error = ''", moment)
        return {row["name"] for row in found}

    def now(self) -> str:
        (row,) = self.rows("SELECT now()::text AS now")
        now: str = row["now"]
        return now


def manage(stack: Stack, *arguments: str, script: str | None = None) -> str:
    """`manage.py` beside the running stack, as an operator uses it. Returns what it printed."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=own_environment(os.environ) | {"BROWSA_HOME": str(stack.home), "BROWSA_PORT": str(stack.port)},
        input=script,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


_NEW_WORKSPACES = """
import json
from apps.accounts.services import create_workspace, mint_key
made = [create_workspace(name="member") for _ in range({count})]
print(json.dumps([[str(one.id), mint_key(workspace_id=one.id, name="tests").secret] for one in made]))
"""


def join(stack: Stack, http: httpx.Client, count: int) -> Iterator[Member]:
    """`count` workspaces, each with 100 credits and a key."""
    printed = manage(stack, "shell", "--no-imports", "-c", _NEW_WORKSPACES.format(count=count))
    for workspace_id, key in json.loads(printed.strip().splitlines()[-1]):
        yield Member(stack, workspace_id, key, http)


_LEASE = """
import json
from apps.agents.control_client import runner_client
from apps.agents.services.provisioning import ProvisionRequest, provision
request = ProvisionRequest(ttl_seconds={ttl}, country="us", os_type="OS_TYPE_LINUX")
made = [provision(workspace_id="{workspace}", request=request, runner=runner_client()).id for _ in range({count})]
print(json.dumps(made))
"""


def short_lived(member: Member, *, ttl: float, count: int = 1) -> list[str]:
    """Agents with a TTL below what the API takes: the same service that the view calls, and the same runner."""
    script = _LEASE.format(ttl=ttl, workspace=member.workspace_id, count=count)
    ids: list[str] = json.loads(manage(member.stack, "shell", "--no-imports", "-c", script).strip().splitlines()[-1])
    return ids


def gateway_connections(stack: Stack) -> int:
    """TCP connections to its CDP gateway that one end has not closed."""
    gateway, open_states = f":{stack.port + 1:04X}", ("01", "08")  # ESTABLISHED, CLOSE_WAIT
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(
        state in open_states and (local.endswith(gateway) or remote.endswith(gateway))
        for _, local, remote, state, *_ in lines
    )


def verify_ledger(stack: Stack) -> None:
    assert manage(stack, "verify_ledger") == "The ledger adds up.\n"


def adds_up(ledger: list[dict[str, Any]]) -> tuple[int, int]:
    """Adds a ledger up by hand, line by line. Returns balance and held."""
    balance = held = 0
    references = [line["reference"] for line in ledger]
    assert len(set(references)) == len(references)
    for seq, line in enumerate(ledger, start=1):
        balance += line["amount"]
        held += line["held_change"]
        assert (line["seq"], line["balance_after"], line["held_after"]) == (seq, balance, held)
        assert 0 <= held <= balance
    return balance, held


class Control:
    """The runner's private API."""

    def __init__(self, stack: Stack) -> None:
        self._transport = httpx.HTTPTransport(uds=str(locate(stack.home).runner_socket), verify=False)
        self._http = httpx.Client(transport=self._transport, base_url="http://runner", timeout=PATIENCE)

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    def status(self) -> dict[str, Any]:
        body: dict[str, Any] = self._http.get("/status").raise_for_status().json()
        return body

    def leases(self) -> set[str]:
        return set(self._http.get("/leases").raise_for_status().json()["leases"])


def leases(stack: Stack) -> set[str]:
    """Those of agents. Beat may run the harness at any time, whose leases have no agent."""
    return {lease for lease in all_leases(stack) if not lease.startswith("harness_")}


def all_leases(stack: Stack) -> set[str]:
    with Control(stack) as control:
        return control.leases()


def runner_status(stack: Stack) -> dict[str, Any]:
    with Control(stack) as control:
        return control.status()


def pool_is_whole(stack: Stack) -> bool:
    """Nothing starts, something is warm, and every browser process belongs to a lease or is warm."""
    status = runner_status(stack)
    full = status["warm"] > 0 or status["leased"] == status["limit"]
    return full and status["starting"] == 0 and len(chromiums(stack)) == status["warm"] + status["leased"]


def answers(stack: Stack, path: str = "/healthz") -> bool:
    try:
        return visit(stack.api_url + path).is_success
    except httpx.TransportError:
        return False


def jailed(stack: Stack) -> dict[int, str]:
    """Every process in a jail of this stack, and the jails themselves: pid to command line."""
    marker = jail.marker_of(stack.home).encode()
    inside = f"{jail.MARKER}=".encode() + marker
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().split(b"\0")
            told = (entry / "environ").read_bytes().split(b"\0")
            if inside in told or marker in command:
                found[int(entry.name)] = b" ".join(command).decode(errors="replace")
    return found


def chromiums(stack: Stack) -> set[int]:
    """The main process of each browser of this stack that an agent has or may get; the shell for pages is none."""
    return {
        pid
        for pid, line in jailed(stack).items()
        if "bwrap" not in line.split(maxsplit=1)[0]
        and "--headless=new" in line
        and "--type=" not in line
        and "shell" not in line
    }


def chromium_of(stack: Stack, agent: dict[str, Any]) -> int:
    """The main process of an agent's own browser, found by the process ids that the browser itself knows."""
    with attach(agent["cdp_url"]) as cdp:

        def matching() -> list[int]:
            # Each look adds a process, until no other browser has processes of the same ids.
            context = command(cdp, "Target.createBrowserContext")["browserContextId"]
            command(cdp, "Target.createTarget", url="about:blank", browserContextId=context)
            known = {process["id"] for process in command(cdp, "SystemInfo.getProcessInfo")["processInfo"]}
            inside = _process_ids_inside()
            # One of its processes may have ended between the two lists.
            found = [pid for pid in chromiums(stack) if known <= inside.get(pid, set())]
            return found if len(found) == 1 else []

        (pid,) = until(matching, what="a browser with those processes and no other one")
        return pid


def _process_ids_inside() -> dict[int, set[int]]:
    """For each process in a jail the ids, as seen from inside, of everything in that jail."""
    parents: dict[int, int] = {}
    inner: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            lines = (entry / "status").read_text().splitlines()
            fields = dict(line.split(":\t", 1) for line in lines if line.startswith(("PPid", "NSpid")))
            parents[int(entry.name)] = int(fields["PPid"])
            # Ours, the jail's, and for Chromium's sandboxed processes one more.
            inner[int(entry.name)] = int([*fields["NSpid"].split(), "0"][1])

    def init(pid: int) -> int:
        while pid in parents and inner[pid] != 1:
            pid = parents[pid]
        return pid

    jails: dict[int, set[int]] = {}
    for pid, number in inner.items():
        if number:
            jails.setdefault(init(pid), set()).add(number)
    return {pid: jails.get(init(pid), set()) for pid in inner}


@contextlib.contextmanager
def attach(cdp_url: str) -> Iterator[ClientConnection]:
    with connect(cdp_url, max_size=None, open_timeout=PATIENCE, proxy=None) as cdp:
        yield cdp


def command(cdp: ClientConnection, method: str, **params: Any) -> dict[str, Any]:
    """Sends one command and returns its result."""
    cdp.send(json.dumps({"id": 1, "method": method, "params": params}))
    while True:
        message = json.loads(cdp.recv(timeout=PATIENCE))
        if message.get("id") == 1:
            assert "error" not in message, message
            result: dict[str, Any] = message["result"]
            return result


def navigate(cdp: ClientConnection, url: str) -> None:
    """Returns when the page has loaded: the answer to the command comes before it shows."""
    command(cdp, "Page.enable")
    cdp.send(json.dumps({"id": 2, "method": "Page.navigate", "params": {"url": url}}))
    left = {"answer", "Page.loadEventFired"}
    while left:
        message = json.loads(cdp.recv(timeout=PATIENCE))
        assert not message.get("result", {}).get("errorText"), message
        left.discard("answer" if message.get("id") == 2 else message.get("method"))


def evaluate(agent: dict[str, Any], expression: str) -> Any:
    """What the page in the agent's browser says."""
    with attach(agent["cdp_url"]) as cdp:
        return command(cdp, "Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")
