"""Where a worker runs its tasks: threads, which nobody can end from outside."""

from __future__ import annotations

from celery.concurrency.thread import TaskPool


class ThreadPool(TaskPool):  # type: ignore[misc]
    """Celery's, for workers that are told to end at once (SIGQUIT) while they have tasks in hand.

    Celery's own raises then, in the middle of the shutdown: nobody hears that the worker ends, so jobs are not given
    back, messages neither, and the log ends with an unrecoverable error.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._terminated = False

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """The thread goes on for now. What it works for hears of the shutdown (`worker_shutting_down`) and ends it."""
        self._terminated = True

    def on_stop(self) -> None:
        """Before anybody has heard of an end at once: then nobody may be waited for yet."""
        self.executor.shutdown(wait=not self._terminated, cancel_futures=True)

    def on_terminate(self) -> None:
        """Afterwards. What threads still write needs the interpreter."""
        self.executor.shutdown(cancel_futures=True)
