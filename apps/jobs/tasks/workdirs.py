"""A directory for each task that this process works on: gone with the work, or with the process's successor."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "browsa-task-"


@contextmanager
def workdir(job_id: uuid.UUID) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-{job_id}-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def remove_stale_workdirs() -> None:
    """Removes what processes that are no more have left behind."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        pid = path.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(path, ignore_errors=True)
