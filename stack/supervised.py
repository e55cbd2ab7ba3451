"""One process kept running: started again when it ends, until it is told to stop."""

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
from stack.services import Ending, Service, command_line, count_failures, how_it_ended, restart_delay

Say = Callable[[str], None]


class Supervised:
    """`failures` counts quick deaths in a row; `last_end` and `last_words` are how, and what it said before.

    `changed` is called when there is another process, or none.
    """

    def __init__(self, service: Service, logs: Path, say: Say, hear: Say, changed: Callable[[], None]) -> None:
        self.service = service
        self.failures = 0
        self.last_end = ""
        self.last_words = ""
        self._log_path = logs / f"{service.name}.log"
        self._log = LogFile(self._log_path, lambda line: hear(f"{service.name}: {line}"))
        self._say = say
        self._changed = changed
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    def start(self) -> None:
        """From the main thread: the process is to die with it."""
        self._task = asyncio.create_task(self._keep(), name=self.service.name)

    async def stop(self, ending: Ending) -> None:
        """Ask, ask harder, kill; returns when it is gone."""
        self._stopping.set()
        for signal_number, patience in self.service.signals(ending):
            self._signal(signal_number)
            if await self._gone(patience):
                break
        else:
            self.kill()
            await self._gone(None)
        self._log.close()

    def hurry(self) -> None:
        """If it is draining, say that it is to end now."""
        if self._stopping.is_set():
            self._signal(self.service.now[0][0])

    def kill(self) -> None:
        self._stopping.set()
        self._signal(signal.SIGKILL)

    def _signal(self, signal_number: signal.Signals) -> None:
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal_number)

    async def _gone(self, patience: float | None) -> bool:
        if self._task is None:
            return True
        done, _ = await asyncio.wait({self._task}, timeout=patience)
        return bool(done)

    async def _keep(self) -> None:
        while not self._stopping.is_set():
            begun = time.monotonic()
            self._log.begin()
            self.last_end = await self._live()
            self.last_words = tail(self._log_path, since=self._log.began_at)
            self._changed()
            if self._stopping.is_set():
                return
            self.failures = count_failures(self.failures, time.monotonic() - begun)
            delay = restart_delay(self.failures)
            self._say(f"{self.service.name} ended ({self.last_end}); starting it again in {delay:.1f} s")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()

    async def _live(self) -> str:
        """Prepare, run, and say how it ended."""
        try:
            if self.service.before:
                await asyncio.to_thread(self.service.before)
            return how_it_ended(await self._run())
        except (StackError, OSError) as error:
            return str(error)

    async def _run(self) -> int:
        """One life of the process. Returns its exit status, negative for a signal."""
        output, child_end = os.pipe()
        os.set_blocking(output, False)
        asyncio.get_running_loop().add_reader(output, self._copy, output)
        try:
            try:
                # Not asyncio's own pipe: with that, `wait` would wait for grandchildren that hold it open too.
                self._process = process = await self._spawn(child_end)
            finally:
                os.close(child_end)
            if self._stopping.is_set():
                process.kill()
            self._changed()
            status = await process.wait()
            kill_group(process.pid)
            self._copy(output)
            return status
        finally:
            asyncio.get_running_loop().remove_reader(output)
            os.close(output)

    async def _spawn(self, output: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command_line(self.service),
            cwd=ROOT,
            env=self.service.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # the terminal's Ctrl-C is for the supervisor alone
        )

    def _copy(self, output: int) -> None:
        """Move what there is to the log. Called by the loop, and once more at the end."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(output, 65_536):
                self._log.write(data)
            # Everybody has closed it: a reader that went on looking would keep the loop busy.
            asyncio.get_running_loop().remove_reader(output)
