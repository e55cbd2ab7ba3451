"""`python -m bench`: starts a stack of its own, measures it against baselines of the same run, prints one table."""

from __future__ import annotations

import argparse
import http.server
import os
import platform
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop

from bench import cdp, memory, provisioning, reads
from bench.subject import POOL_SIZE, Subject
from bench.table import Row, render
from browsa.stack.harness import running_stack

PAGE = b"<!doctype html><title>A page</title><h1>A page</h1><p>With a little text.</p>"


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet: the table is the output."""


@contextmanager
def site() -> Iterator[int]:
    """A page on loopback; its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


async def measure(subject: Subject, *, samples: int, site_url: str) -> list[Row]:
    rows = await provisioning.measure(subject, samples=samples, environ=dict(os.environ))
    await subject.warm()
    rows += await cdp.measure(subject)
    rows += await memory.measure(subject, site_url)
    await subject.warm()
    rows += await reads.measure(subject)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--samples", type=int, default=60, help="provisions to time (default 60)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="browsa-bench-") as home, site() as port:
        env = {
            "BROWSA_POOL_SIZE": str(POOL_SIZE),
            "BROWSA_ALLOW_ADDRESSES": f"127.0.0.1:{port}",
            "BROWSA_RATE_LIMITS": "off",
            "SIGNUP_CREDITS": "1000000",
        }
        with running_stack(home, env=env) as stack:
            subject = Subject(stack)
            rows = uvloop.run(measure(subject, samples=options.samples, site_url=f"http://127.0.0.1:{port}/"))
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; {options.samples} samples"
    )
    print(render(rows))


if __name__ == "__main__":
    main()
