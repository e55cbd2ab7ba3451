"""What executors of every kind share: trying again after a passing error, and stopping when the job is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from apps.jobs.worker.executor import Run

T = TypeVar("T")

# A runner, or a Redis, that restarts is back within seconds. After the last pause comes the last attempt.
RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0)


async def retried(attempt: Callable[[], Awaitable[T]], *, passing: Callable[[Exception], bool]) -> T:
    """What `attempt` returns. It is repeated while `passing` says that its error may go away by itself.

    Raises the error of the last attempt.
    """
    for pause in RETRY_SECONDS:
        try:
            return await attempt()
        except Exception as error:
            if not passing(error):
                raise
        await asyncio.sleep(pause)
    return await attempt()


async def unless_cancelled(run: Run, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` returns; None when the job was cancelled first, and `work` with it. Of an exception group that `work`
    raises, the first error is raised alone.
    """
    working = asyncio.ensure_future(work)
    cancelling = asyncio.ensure_future(run.cancelled.wait())
    try:
        await asyncio.wait({working, cancelling}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from group
    finally:
        working.cancel()
        cancelling.cancel()
        await asyncio.gather(working, cancelling, return_exceptions=True)
