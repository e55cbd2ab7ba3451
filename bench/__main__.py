"""`python -m bench`: starts a separate stack, measures it against baselines of the same run, prints one table."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Awaitable, Callable

import uvloop

from bench import cdp, ledger, memory, pages, provisioning, reads, receivers, site, tasks, webhooks
from bench.receivers import Ports
from bench.subject import POOL_SIZE, Subject
from bench.table import Row, render
from stack.harness import running_stack
from tests.fakes.model import ScriptedModel


async def measure(
    subject: Subject, *, only: str, samples: int, site_url: str, ports: Ports, model: ScriptedModel
) -> list[Row]:
    environ = dict(os.environ)
    sections: dict[str, Callable[[], Awaitable[list[Row]]]] = {
        "provisioning": lambda: provisioning.measure(subject, samples=samples, environ=environ),
        "cdp": lambda: cdp.measure(subject),
        "memory": lambda: memory.measure(subject, f"{site_url}/small"),
        "reads": lambda: reads.measure(subject),
        "ledger": lambda: ledger.measure(subject),
        "pages": lambda: pages.measure(subject, site_url, environ=environ),
        "webhooks": lambda: webhooks.measure(subject, ports),
        "tasks": lambda: tasks.measure(subject, model, site_url),
    }
    rows: list[Row] = []
    for name, section in sections.items():
        if only in ("", name):
            await subject.warm()
            rows += await section()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--samples", type=int, default=120, help="number of provisions to time (default 120)")
    parser.add_argument("--only", default="", help="run one section only, named like its module: pages, webhooks, …")
    options = parser.parse_args()
    home_folder = tempfile.TemporaryDirectory(prefix="browsa-bench-")
    with home_folder as home, site.running() as port, receivers.running() as ports, ScriptedModel() as model:
        env = {
            "BROWSA_POOL_SIZE": str(POOL_SIZE),
            "BROWSA_ALLOW_ADDRESSES": ",".join(f"127.0.0.1:{allowed}" for allowed in (port, model.port, *ports.all)),
            "BROWSA_RATE_LIMITS": "off",
            "BROWSA_MAX_BURNERS": str(2 * provisioning.BURST),
            "BROWSA_TASKS_PER_WORKSPACE": str(tasks.AT_ONCE),
            "SIGNUP_CREDITS": "1000000",
        }
        with running_stack(home, env=env) as stack:
            subject = Subject(stack)
            rows = uvloop.run(
                measure(
                    subject,
                    only=options.only,
                    samples=options.samples,
                    site_url=f"http://127.0.0.1:{port}",
                    ports=ports,
                    model=model,
                )
            )
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; {options.samples} samples"
    )
    print(render(rows))


if __name__ == "__main__":
    main()
