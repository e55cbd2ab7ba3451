"""`python -m tests.faults.tasks.watched …`: Celery, in a process that tells what it holds when it is asked.

At SIGUSR2 it writes a line of JSON to the file that WATCHED_REPORT names: its asyncio tasks, and how many there are of
the objects that tasks are made of.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType

from celery.__main__ import main

OURS = ("apps.jobs", "browser_use", "bubus", "httpcore")
OF_TASKS = {"TaskSession", "TaskAgent", "EventBus", "BrowserAgent", "TaskExecution", "TaskModel", "RetryingTransport"}


def report(signal_number: int, frame: FrameType | None) -> None:
    gc.collect()
    working = [one for one in gc.get_objects() if type(one) is asyncio.Task and not one.done()]
    kinds = Counter(type(one).__name__ for one in gc.get_objects() if str(type(one).__module__).startswith(OURS))
    everything = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
    told = {
        "everything": dict(everything),
        "asyncio": sorted(getattr(one.get_coro(), "__qualname__", "?") for one in working),
        "where": ["  <  ".join(where(one.get_coro())) for one in working],
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "loggers": len(logging.Logger.manager.loggerDict),
        "objects": {name: kinds[name] for name in OF_TASKS},
    }
    path = Path(os.environ["WATCHED_REPORT"])
    path.with_suffix(".new").write_text(json.dumps(told))
    path.with_suffix(".new").rename(path)


def where(coro: object) -> list[str]:
    """The lines at which a coroutine waits, the outermost first."""
    lines = []
    while coro is not None:
        frame = getattr(coro, "cr_frame", None) or getattr(coro, "gi_frame", None)
        if frame is not None:
            lines.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}")
        coro = getattr(coro, "cr_await", None) or getattr(coro, "gi_yieldfrom", None)
    return lines


if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, report)
    sys.exit(main())
