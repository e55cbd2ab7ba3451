"""The thread pool of a worker. Threads can't be ended from outside."""

from __future__ import annotations

from celery.concurrency.thread import TaskPool


class ThreadPool(TaskPool):  # type: ignore[misc]
    """Celery's pool, which also supports a cold shutdown (SIGQUIT) while tasks run.

    Celery's own pool raises then, during the shutdown: the shutdown signals are not sent, so claims of jobs and
    messages are not released, and the log ends with an unrecoverable error.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._terminated = False

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """Does not end the thread: its job ends by itself after the signal `worker_shutting_down`."""
        self._terminated = True

    def on_stop(self) -> None:
        """Runs before that signal is sent in a cold shutdown, so it must not wait for the threads then."""
        self.executor.shutdown(wait=not self._terminated, cancel_futures=True)

    def on_terminate(self) -> None:
        """Runs after the signal: waits for the threads, which still write their results."""
        self.executor.shutdown(cancel_futures=True)
