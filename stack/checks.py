"""`make check`: runs every check, two at a time. Prints the output of those that fail, then the layer map."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stack import layer_map

ROOT = Path(__file__).resolve().parents[1]
_BIN = Path(sys.executable).parent

# The longest check first: the others run beside it.
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
    "layer map": (sys.executable, "-m", "stack.layer_map", "--check"),
    "class names": (sys.executable, "-m", "stack.class_names"),
}


def environment(base: Mapping[str, str], home: str) -> dict[str, str]:
    """Settings that load without a stack, so that no check reads or changes the data of a running one."""
    return {
        **base,
        "DJANGO_SETTINGS_MODULE": "browsa.settings",
        "BROWSA_HOME": home,
        "BROWSA_SECRET_KEY": "only for checks",
        "DATABASE_URL": f"postgresql://postgres@/browsa?host={home}",
        "REDIS_URL": f"unix://{home}/redis.sock",
        # The check reads the migration files. There is no database whose history it could compare.
        "PYTHONWARNINGS": "ignore:Got an error checking a consistent migration history",
    }


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="browsa-check-") as home, ThreadPoolExecutor(2) as pool:
        env = environment(os.environ, home)
        passed = list(pool.map(lambda name: _check(name, CHECKS[name], env), CHECKS))
    print(f"\n{layer_map.render(layer_map.current())}")
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
