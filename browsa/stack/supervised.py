"""One process kept running: started again when it ends, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

from browsa.stack.child import ROOT, kill_group, tail
from browsa.stack.home import StackError
from browsa.stack.logs import LogFile
from browsa.stack.services import (
    Ending,
    Service,
    command_line,
    count_failures,
    how_it_ended,
    restart_delay,
)

Say = Callable[[str], None]


class Supervised:
    """`failures` counts quick deaths in a row. `changed` is called when there is another process, or none."""

    def __init__(self, service: Service, logs: Path, say: Say, hear: Say, changed: Callable[[], None]) -> None:
        self.service = service
        self.failures = 0
        self.last_end = ""
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

    def log_tail(self) -> str:
        return tail(self._log_path, since=self._log.began_at)

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
        """Say, while it drains, that it is to end now."""
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
            self.last_end = await self._live()
            self._changed()
            if self._stopping.is_set():
                return
            self.failures = count_failures(self.failures, time.monotonic() - begun)
            delay = restart_delay(self.failures)
            self._say(f"{self.service.name} ended ({self.last_end}); starting it again in {delay:.1f} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)

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
        self._process = process = await asyncio.create_subprocess_exec(
            *command_line(self.service),
            cwd=ROOT,
            env=self.service.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # the terminal's Ctrl-C is for the supervisor alone
        )
        if self._stopping.is_set():
            process.kill()
        self._changed()
        copying = asyncio.create_task(self._copy(process))
        status = await process.wait()
        kill_group(process.pid)
        # Something it started may still hold the pipe open: what it said itself has been read by then.
        await asyncio.wait({copying}, timeout=0.5)
        copying.cancel()
        return status

    async def _copy(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout  # asked for above; for mypy
        while data := await process.stdout.read(65_536):
            self._log.write(data)
