"""The part of the API that a runner reports to. What it answers is an attribute."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from runner import wire


class ReportApi:
    """Serves `POST /internal/runner/report` on 127.0.0.1 until the block ends."""

    def __init__(self, port: int = 0) -> None:
        self.status = 204
        self.reports: list[wire.RunnerReport] = []  # those that were answered with 204
        self.refused = 0
        self.tokens: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
        self._server.daemon_threads = True
        self._server.api = self  # type: ignore[attr-defined]
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}{wire.REPORT_PATH}"

    def __enter__(self) -> ReportApi:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def boots(self) -> list[str]:
        """Boot ids in the order in which they were first heard of."""
        return list(dict.fromkeys(report.boot_id for report in self.reports))

    def ends(self, lease_id: str) -> list[wire.EndReason]:
        """Every reason that was reported for the end of a lease. A report that we were slow to answer is repeated."""
        ends = dict.fromkeys(ended for report in self.reports for ended in report.ended)
        return [ended.reason for ended in ends if ended.lease_id == lease_id]


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        api: ReportApi = self.server.api  # type: ignore[attr-defined]
        report = wire.RunnerReport.from_json(self.rfile.read(int(self.headers["Content-Length"])))
        api.tokens.add(self.headers.get("Authorization", ""))
        if api.status == 204:
            api.reports.append(report)
        else:
            api.refused += 1
        self.send_response(api.status)
        self.end_headers()
