"""Validates an untrusted value against an untrusted JSON Schema.

A pattern or a recursive reference can make the validation endless, and a regular expression of Python blocks all other
threads while it runs. So a separate process validates, with limits on its memory and CPU time.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from pathlib import Path
from typing import Any

SECONDS = 10.0
MEMORY = 512 * 1024 * 1024
MAX_MESSAGE_CHARS = 500

_ROOT = Path(__file__).resolve().parents[3]


async def problem(value: Any, schema: dict[str, Any], *, seconds: float = SECONDS) -> str | None:
    """Why `value` does not fit the schema; None when it fits. `json_schemas.check` has accepted the schema before."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "apps.jobs.tasks.schema_validation"),
        cwd=_ROOT,
        env={},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate(json.dumps({"value": value, "schema": schema}).encode())
        found: str | None = json.loads(output)
    except (TimeoutError, ValueError):  # a process that exceeds its limits prints nothing
        return "the validation exceeded its limit of time or memory"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return found


def _validate(value: Any, schema: dict[str, Any]) -> str | None:
    from jsonschema.exceptions import best_match
    from referencing import Registry

    from apps.jobs.json_schemas import validator_of

    # The registry is empty, so that a reference can only point into the schema itself.
    found = best_match(validator_of(schema)(schema, registry=Registry()).iter_errors(value))
    if found is None:
        return None
    where = "/".join(str(step) for step in found.absolute_path)
    return f"{f'at {where}: ' if where else ''}{found.message[:MAX_MESSAGE_CHARS]}"


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS), int(SECONDS)))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    given = json.load(sys.stdin)
    print(json.dumps(_validate(given["value"], given["schema"])))
