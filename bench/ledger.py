"""Holds and captures per second, on one workspace and on a hundred, compared with plain transactions.

A separate process (`bench.spending`) makes them in the stack's database, so the figures do not include the API.
"""

from __future__ import annotations

import asyncio
import json
import sys

from bench.subject import Subject
from bench.table import Row, median

_NAMES = {"one": "one workspace", "many": "100 workspaces"}


async def measure(subject: Subject) -> list[Row]:
    spent = await _spend(subject)
    rows = []
    for threads in spent["threads"]:
        for place, name in _NAMES.items():
            ours, plain = (median(spent["rates"][f"{side} {place} {threads}"]) for side in ("ours", "plain"))
            title = f"hold + capture, {name}, {threads} thread{'s' if threads > 1 else ''}"
            rows.append(Row(title, ours, "pairs/s", plain, "2 x (INSERT + UPDATE)", at_least=True))
    return rows


async def _spend(subject: Subject) -> dict[str, dict[str, list[float]]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.spending", str(subject.stack.home), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"bench.spending ended with {process.returncode}")
    spent: dict[str, dict[str, list[float]]] = json.loads(out)
    return spent
