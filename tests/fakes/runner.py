"""A runner without browsers: a real HTTP server on a Unix socket that speaks `runner.wire`.

What it does next is a plain attribute, so that a test says `runner.behaviour = "no_browser"` and goes on. While it is
there the clients in its process are patient: that the machine stands still for seconds makes it no silent runner.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import secrets
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from runner import wire
from tests.fakes.pages import FakePages, Freed, Script
from tests.patience import PATIENCE

# What a browser without a contradiction shows. A real one shows more of each.
MEASURED: dict[str, Any] = {
    "navigator": {"userAgent": "Mozilla/5.0 (fake)", "platform": "MacIntel", "hardwareConcurrency": 8},
    "screen": {"width": 1512, "height": 982, "devicePixelRatio": 2},
    "webgl": {"vendor": "Google Inc. (Apple)", "renderer": "ANGLE (Apple)", "hash": "aa"},
    "timezone": "America/New_York",
    "locale": "en-US",
    "canvas": {"hash": "bb"},
    "audio": {"hash": "cc"},
    "tls": {"ja3": "dd", "ja4": "ee"},
    "coherence": {"contradictions": []},
    "warnings": [],
}

Behaviour = Literal["lease", "no_browser", "no_egress", "draining", "garbage", "error", "hang_up"]


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    fake: FakeRunner


class FakeRunner:
    """`with FakeRunner(path) as runner:` serves on the socket `path` until the block ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.behaviour: Behaviour = "lease"
        self.boot_id = new_boot_id()
        self.runner_id = "r1"
        self.leases: dict[str, wire.LeaseGranted] = {}
        self.requests: list[wire.LeaseRequest] = []
        self.released: list[str] = []
        self.downloads: dict[str, list[tuple[wire.Download, bytes | None]]] = {}  # by lease; None: the file is gone
        self.before_lease: Callable[[wire.LeaseRequest], object] = lambda request: None
        self.warm = 4
        self.jail = wire.JailStatus()
        self.fingerprint: dict[str, Any] = MEASURED
        self.egress: list[wire.CountryEgress] = []
        self.checks: list[wire.ExitCheck] = []
        self.pages = FakePages()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"unix:{self.path}"

    def __enter__(self) -> FakeRunner:
        self.path.unlink(missing_ok=True)
        self._server = _Server(str(self.path), _Handler)
        self._server.fake = self
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self._patience = ExitStack()
        self._patience.enter_context(_patient_clients())
        return self

    def __exit__(self, *exc: object) -> None:
        self._patience.close()
        self._server.shutdown()
        self._server.server_close()
        self.path.unlink(missing_ok=True)

    def reset(self) -> None:
        self.behaviour = "lease"
        self.before_lease = lambda request: None
        self.warm = 4
        self.jail = wire.JailStatus()
        self.fingerprint = MEASURED
        self.egress, self.checks = [], []
        self.reboot()
        self.requests.clear()
        self.released.clear()
        self.downloads.clear()
        self.pages.reset()

    def reboot(self) -> None:
        """Every lease is gone, and the next ones belong to another life."""
        self.leases.clear()
        self.boot_id = new_boot_id()

    def lease(self, request: wire.LeaseRequest) -> wire.LeaseGranted:
        with self._lock:
            self.requests.append(request)
        self.before_lease(request)
        now = time.time()
        granted = wire.LeaseGranted(
            lease_id=request.lease_id,
            runner_id=self.runner_id,
            boot_id=self.boot_id,
            profile=f"{self.runner_id}-{secrets.token_hex(16)}",
            page_id=secrets.token_hex(16).upper(),
            live_view=f"{self.runner_id}-{secrets.token_hex(16)}",
            live_control=f"{self.runner_id}-{secrets.token_hex(16)}",
            leased_at=now,
            expires_at=now + request.ttl_seconds,
            fingerprint=self.fingerprint,
            seed=request.seed or secrets.token_hex(8),
        )
        with self._lock:
            return self.leases.setdefault(request.lease_id, granted)

    def extend(self, lease_id: str, seconds: int) -> wire.LeaseGranted | None:
        with self._lock:
            granted = self.leases.get(lease_id)
            if granted is not None:
                until = max(granted.expires_at, time.time() + seconds)
                granted = self.leases[lease_id] = dataclasses.replace(granted, expires_at=until)
            return granted

    def release(self, lease_id: str) -> None:
        with self._lock:
            self.released.append(lease_id)
            self.leases.pop(lease_id, None)

    def download(self, path: str) -> _Answer:
        """The answer to `GET /leases/<lease>/downloads[/<id>]`."""
        lease_id, _, wanted = path.removeprefix("/leases/").partition("/downloads")
        if lease_id not in self.leases:
            return _refuse(404, "no_lease")
        kept = self.downloads.get(lease_id, [])
        if not wanted:
            return _Answer(200, wire.DownloadList([download for download, _content in kept]).to_json())
        content = next((content for download, content in kept if f"/{download.id}" == wanted), None)
        return _refuse(404, "no_download") if content is None else _Answer(200, content)

    def status(self) -> wire.RunnerStatus:
        return wire.RunnerStatus(
            runner_id=self.runner_id,
            boot_id=self.boot_id,
            state="draining" if self.behaviour == "draining" else "ready",
            chromium="fake",
            warm=self.warm,
            starting=0,
            leased=len(self.leases),
            waiting=0,
            limit=16,
            jail=self.jail,
            egress=self.egress,
        )


@contextmanager
def _patient_clients() -> Iterator[None]:
    from apps.agents import control_client

    defaults = control_client.RunnerClient._ask.__kwdefaults__
    with (
        mock.patch.object(control_client, "CONNECT_SECONDS", PATIENCE),
        mock.patch.dict(defaults, answer_seconds=PATIENCE),
    ):
        yield


_boots = itertools.count(time.time_ns())


def new_boot_id() -> str:
    """Greater than every earlier one, as a string."""
    return f"{next(_boots):016x}{secrets.token_hex(4)}"


@dataclass
class _Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server  # type: ignore[assignment]

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        fake = self.server.fake
        if self.path == "/status":
            self._send(_Answer(200, fake.status().to_json()))
        elif self.path == "/leases":
            self._send(_Answer(200, json.dumps({"leases": list(fake.leases)}).encode()))
        elif "/downloads" in self.path:
            self._send(fake.download(self.path))
        else:
            self._send(_Answer(404))

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/pages":
            self._page(wire.PageRequest.from_json(raw))
            return
        if self.path == "/egress/check":
            self._send(_Answer(200, wire.EgressReport(self.server.fake.checks).to_json()))
            return
        request = wire.LeaseRequest.from_json(raw)
        match self.server.fake.behaviour:
            case "lease":
                self._send(_Answer(200, self.server.fake.lease(request).to_json()))
            case "no_browser":
                self._send(_refuse(504, "no_browser"))
            case "no_egress":
                self._send(_no_egress(request.country))
            case "draining":
                self._send(_refuse(503, "draining"))
            case "garbage":
                self._send(_Answer(200, b"[1, 2"))
            case "error":
                self._send(_Answer(500, b"oops"))
            case "hang_up":
                self.close_connection = True

    def _page(self, request: wire.PageRequest) -> None:
        try:
            answer: Script = self.server.fake.pages.load(request, self.connection)
        except Freed:
            answer = "hang_up"
        match answer:
            case "hang_up":
                self.close_connection = True
            case "draining":
                self._send(_refuse(503, "draining"))
            case "no_egress":
                self._send(_no_egress(request.country))
            case "no_place":
                self._send(_refuse(504, "no_browser"))
            case "garbage":
                self._send(_Answer(200, b"[1, 2"))
            case "error":
                self._send(_Answer(500, b"oops"))
            case _:
                self._send(_Answer(200, answer.to_json()))

    def do_PATCH(self) -> None:
        wanted = wire.LeaseExtension.from_json(self.rfile.read(int(self.headers["Content-Length"])))
        granted = self.server.fake.extend(self.path.removeprefix("/leases/"), wanted.ttl_seconds)
        self._send(_Answer(200, granted.to_json()) if granted else _refuse(404, "no_lease"))

    def do_DELETE(self) -> None:
        self.server.fake.release(self.path.removeprefix("/leases/"))
        self._send(_Answer(204))

    def _send(self, answer: _Answer) -> None:
        self.send_response(answer.status)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)


def _refuse(status: int, code: wire.RefusalCode) -> _Answer:
    return _Answer(status, json.dumps({"code": code, "message": code}).encode())


def _no_egress(country: str) -> _Answer:
    message = f"no upstream proxy of country {country} works"
    return _Answer(502, json.dumps({"code": "no_egress", "message": message}).encode())
