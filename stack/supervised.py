"""One supervised process: it is started again when it ends, until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from stack.child import ROOT, kill_group, tail
from stack.home import StackError
from stack.logs import LogFile
from stack.services import Service, StopMode, command_line, count_failures, describe_exit, restart_delay

Report = Callable[[str], None]

# Output is copied in batches: a process that logs a line for each request does not wake the supervisor for each.
_BATCH_SECONDS = 0.02


class Supervised:
    """`failures` counts short runs in a row. `last_exit` says how the last one ended, `last_output` is its output.

    `report` gets messages about restarts, `on_alert` warnings and errors from the process's log. `changed` is
    called when the pid changes.
    """

    def __init__(
        self, service: Service, logs: Path, report: Report, on_alert: Report, changed: Callable[[], None]
    ) -> None:
        self.service = service
        self.failures = 0
        self.last_exit = ""
        self.last_output = ""
        self._log_path = logs / f"{service.name}.log"
        self._log = LogFile(self._log_path, lambda line: on_alert(f"{service.name}: {line}"))
        self._report = report
        self._changed = changed
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._next_copy: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    def start(self) -> None:
        """Call it from the main thread: the process ends with the thread that starts it."""
        self._task = asyncio.create_task(self._run_until_stopped(), name=self.service.name)

    async def stop(self, mode: StopMode) -> None:
        """Send the signals of `mode` one after another, then SIGKILL. Returns when the process has ended."""
        self._stopping.set()
        for signal_number, patience in self.service.signals(mode):
            self._signal(signal_number)
            if await self._wait_for_end(patience):
                break
        else:
            self.kill()
            await self._wait_for_end(None)
        self._log.close()

    def end_now(self) -> None:
        """Send the signal for an immediate stop to a process that drains."""
        if self._stopping.is_set():
            self._signal(self.service.now[0][0])

    def kill(self) -> None:
        self._stopping.set()
        self._signal(signal.SIGKILL)

    def _signal(self, signal_number: signal.Signals) -> None:
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal_number)

    async def _wait_for_end(self, patience: float | None) -> bool:
        if self._task is None:
            return True
        done, _ = await asyncio.wait({self._task}, timeout=patience)
        return bool(done)

    async def _run_until_stopped(self) -> None:
        while not self._stopping.is_set():
            begun = time.monotonic()
            self._log.mark_start()
            self.last_exit = await self._run_once()
            self.last_output = tail(self._log_path, since=self._log.began_at)
            self._changed()
            if self._stopping.is_set():
                return
            self.failures = count_failures(self.failures, time.monotonic() - begun)
            delay = restart_delay(self.failures)
            self._report(f"{self.service.name} ended ({self.last_exit}); starting it again in {delay:.1f} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()

    async def _run_once(self) -> str:
        """Prepare and run the process. Returns how it ended, in words."""
        try:
            if self.service.before:
                await asyncio.to_thread(self.service.before)
            return describe_exit(await self._run_process())
        except (StackError, OSError) as error:
            return str(error)

    async def _run_process(self) -> int:
        """Run the process once. Returns its exit status, negative for a signal."""
        output, child_end = os.pipe()
        os.set_blocking(output, False)
        self._listen(output)
        try:
            try:
                # Not asyncio's pipe: with that, `wait` also waits for grandchildren that hold the pipe open.
                self._process = process = await asyncio.create_subprocess_exec(
                    *command_line(self.service),
                    cwd=ROOT,
                    env=self.service.environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=child_end,
                    stderr=child_end,
                    start_new_session=True,  # the terminal's Ctrl-C is for the supervisor alone
                )
            finally:
                os.close(child_end)
            if self._stopping.is_set():
                process.kill()
            self._changed()
            status = await process.wait()
            kill_group(process.pid)
            self._copy_output(output)
            return status
        finally:
            asyncio.get_running_loop().remove_reader(output)
            if self._next_copy is not None:
                self._next_copy.cancel()
            os.close(output)

    def _listen(self, output: int) -> None:
        asyncio.get_running_loop().add_reader(output, self._on_output, output)

    def _on_output(self, output: int) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(output)
        self._next_copy = loop.call_later(_BATCH_SECONDS, self._copy_batch, output)

    def _copy_batch(self, output: int) -> None:
        if self._copy_output(output):
            self._listen(output)

    def _copy_output(self, output: int) -> bool:
        """Copy available output to the log. False at its end."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(output, 65_536):
                self._log.write(data)
            return False
        return True
