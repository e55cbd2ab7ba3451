"""What a worker process sets up for tasks: the import of browser-use, and a working directory for each task."""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PREFIX = "browsa-task-"
_MODULE = "apps.jobs.tasks.browser_agent"


@contextmanager
def workdir(job_id: uuid.UUID) -> Iterator[Path]:
    """A temporary directory, deleted at the end; after a crash the next worker process deletes it."""
    path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-{job_id}-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


async def load_browser_agent() -> Any:
    """The module that imports browser-use. The import takes seconds, so it runs on a thread: heartbeats continue."""
    return await asyncio.to_thread(_import)


@functools.cache
def _import() -> Any:
    """Waits if another thread is importing it: `sys.modules` lists a module before its import is complete."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):  # left by processes that have ended
        pid = path.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(path, ignore_errors=True)
    # Garbage collection takes a third of the import time, because of ten thousand new classes. `browsa.gc_freeze` does
    # not fit here: other jobs run at the same time, and freezing would keep their objects alive.
    gc.disable()
    try:
        return importlib.import_module(_MODULE)
    finally:
        gc.enable()
