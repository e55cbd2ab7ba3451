"""`make check`: every check, two at a time, with the output of those that fail."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BIN = Path(sys.executable).parent

# The longest first, so that the others fit beside it.
CHECKS: dict[str, tuple[str, ...]] = {
    "types": (str(_BIN / "mypy"),),
    "imports": (str(_BIN / "lint-imports"),),
    "api schema": (
        sys.executable,
        "manage.py",
        "spectacular",
        "--validate",
        "--fail-on-warn",
        "--file",
        os.devnull,
    ),
    "migrations": (sys.executable, "manage.py", "makemigrations", "--check", "--dry-run"),
    "lint": (str(_BIN / "ruff"), "check", "."),
    "format": (str(_BIN / "ruff"), "format", "--check", "."),
}


def environment(base: Mapping[str, str], home: str) -> dict[str, str]:
    """Settings that load without a stack: no check may depend on, or touch, the data of a running one."""
    return {
        **base,
        "DJANGO_SETTINGS_MODULE": "browsa.settings",
        "BROWSA_HOME": home,
        "BROWSA_SECRET_KEY": "only for checks",
        "DATABASE_URL": f"postgresql://postgres@/browsa?host={home}",
        "REDIS_URL": f"unix://{home}/redis.sock",
        # There is no database to compare the migrations' history with; the files are what is checked.
        "PYTHONWARNINGS": "ignore:Got an error checking a consistent migration history",
    }


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="browsa-check-") as home, ThreadPoolExecutor(2) as pool:
        env = environment(os.environ, home)
        passed = list(pool.map(lambda name: _check(name, CHECKS[name], env), CHECKS))
    return 0 if all(passed) else 1


def _check(name: str, command: Sequence[str], env: Mapping[str, str]) -> bool:
    begun = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    verdict = "ok" if done.returncode == 0 else "FAILED"
    text = f"{name:<12}{verdict:<8}{time.monotonic() - begun:5.1f} s"
    if done.returncode != 0:
        text += f"\n{done.stdout.strip()}\n    run it alone: {' '.join(command)}\n"
    print(text, flush=True)
    return done.returncode == 0


if __name__ == "__main__":
    raise SystemExit(main())
