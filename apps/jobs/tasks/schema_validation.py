"""Whether a value fits a JSON Schema, when both are a stranger's.

A pattern, or a reference to itself, can make the check take for ever, and Python's regular expressions keep all other
threads waiting meanwhile. So the check is made by a process of its own, which is small and short-lived by its limits.
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
MAX_WORDS = 500

_ROOT = Path(__file__).resolve().parents[3]


async def problem(value: Any, schema: dict[str, Any], *, seconds: float = SECONDS) -> str | None:
    """Why `value` does not fit a schema that `json_schemas.check` has passed; None when it does."""
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
            said, _ = await process.communicate(json.dumps({"value": value, "schema": schema}).encode())
        found: str | None = json.loads(said)
    except (TimeoutError, ValueError):  # a process that its limits have ended says nothing
        return "the check takes more time or memory than it may"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return found


def _check(value: Any, schema: dict[str, Any]) -> str | None:
    from jsonschema.exceptions import best_match
    from referencing import Registry

    from apps.jobs.json_schemas import validator_of

    # A registry of nothing: references lead nowhere but into the schema itself.
    found = best_match(validator_of(schema)(schema, registry=Registry()).iter_errors(value))
    if found is None:
        return None
    where = "/".join(str(step) for step in found.absolute_path)
    return f"{f'at {where}: ' if where else ''}{found.message[:MAX_WORDS]}"


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS), int(SECONDS)))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    given = json.load(sys.stdin)
    print(json.dumps(_check(given["value"], given["schema"])))
