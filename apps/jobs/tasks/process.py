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
    path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-{job_id}-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


async def load_browser_agent() -> Any:
    """The module that imports browser-use, which takes seconds: on a thread, so that leases are kept meanwhile."""
    return await asyncio.to_thread(_import)


@functools.cache
def _import() -> Any:
    """Whoever comes while another thread imports it waits: in `sys.modules` it is there before it is whole."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):  # of processes that have died
        pid = path.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(path, ignore_errors=True)
    # It would go through ten thousand classes again and again: a third of the time. Not `browsa.gc_freeze`: other jobs
    # run meanwhile, and what is theirs now must be garbage later.
    gc.disable()
    try:
        return importlib.import_module(_MODULE)
    finally:
        gc.enable()
