"""`python -m stack up`: starts all processes, restarts those that end, and stops them all at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stack import config, postgres, provision, readiness, redis, services
from stack.child import ROOT, launched
from stack.home import Home, StackError, locate, opened
from stack.services import Service, StopMode
from stack.supervised import Supervised

_START_PATIENCE = 90.0
_TOO_MANY_DEATHS = 3
_POLL = 0.03  # seconds
_POLL_READY = 0.15  # longer, because each call costs the API some work


def up(environ: Mapping[str, str]) -> int:
    """Run a stack until a signal stops it. Returns the exit status. Raises StackError when it cannot start."""
    home = locate(environ.get("BROWSA_HOME") or ".browsa", environ)
    port = config.port(environ)
    with opened(home):
        check_ports(port)
        return asyncio.run(Supervisor(home, port, environ).run())


def check_ports(port: int) -> None:
    for number, what in ((port, "the API's"), (port + 1, "the gateway's, BROWSA_PORT + 1")):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError as error:
                raise StackError(
                    f"Port {number} ({what}) is not available: {error.strerror}. Set BROWSA_PORT to another "
                    "port; it and the next one must be free."
                ) from error


class TooSlow(StackError):
    """All processes run, but they were not ready in time."""


@dataclass
class _Steps:
    """Prints one line for each step of the start, with the seconds it took."""

    begun: float

    def done(self, name: str, since: float | None = None) -> None:
        print(f"  {name:<18}{time.monotonic() - (since or self.begun):5.1f} s", flush=True)


class Supervisor:
    def __init__(self, home: Home, port: int, environ: Mapping[str, str]) -> None:
        self._home = home
        self._port = port
        self._environ = environ
        self._api_url = environ.get("BROWSA_PUBLIC_URL") or f"http://127.0.0.1:{port}"
        self._children: dict[str, Supervised] = {}
        self._stop_mode: StopMode | None = None
        self._end_requested = asyncio.Event()
        self._is_up = False
        self._last_alert = ""
        self._steps = _Steps(time.monotonic())
        self._values: dict[str, str] = {}

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal, number)
        starting = asyncio.create_task(self._start())
        asked = asyncio.create_task(self._end_requested.wait())
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        failure = starting.exception() if starting.done() else None
        if failure is None and not asked.done():
            self._is_up = True
            print(f"ready http://127.0.0.1:{self._port}", flush=True)
            await asked
        starting.cancel()
        self._stop_mode = self._stop_mode or StopMode.NOW
        await self._stop()
        if failure is None:
            return 0
        if not isinstance(failure, StackError):
            raise failure
        print(f"\n{failure}", file=sys.stderr)
        return 1

    def _on_signal(self, number: signal.Signals) -> None:
        """SIGTERM drains. Ctrl-C or a closed terminal stops at once; a second Ctrl-C kills.

        A repeated SIGTERM is ignored: make forwards the one that its whole process group has already received.
        """
        wanted = StopMode.DRAIN if number == signal.SIGTERM else StopMode.NOW
        if self._stop_mode is None:
            self._stop_mode = wanted
            self._end_requested.set()
        elif wanted is StopMode.NOW:
            for child in self._children.values():
                child.end_now() if self._stop_mode is StopMode.DRAIN else child.kill()
            self._stop_mode = StopMode.NOW

    async def _start(self) -> None:
        embedded = {"DATABASE_URL": postgres.url(self._home), "REDIS_URL": redis.url(self._home)}
        stack_file = self._home.path / "stack.json"
        kept = config.read_json(stack_file)
        self._values = config.compose(kept, self._environ, self._home, self._port, embedded)
        if self._values != kept:
            config.write_json(stack_file, self._values)
        self._home.logs.mkdir(exist_ok=True, mode=0o700)
        django = config.django_environment(self._environ, self._values, self._home)
        runner = config.runner_environment(self._environ, self._values, self._home)
        applications = services.applications(self._port, django, runner)
        by_name = {service.name: service for service in applications}
        self._launch(by_name.pop("runner"))  # warms its browsers while the other processes start
        await asyncio.gather(self._start_redis(), self._start_postgres())
        await self._provision(django)
        launched_at = time.monotonic()
        for service in by_name.values():
            self._launch(service)
        await self._wait_until_ready(launched_at)

    async def _start_redis(self) -> None:
        begun = time.monotonic()
        if self._environ.get("REDIS_URL"):
            await asyncio.to_thread(redis.check, self._values["REDIS_URL"])
            return self._steps.done("redis (external)", begun)
        server = redis.Redis(self._home)
        child = self._launch(services.redis_service(server, self._environ))
        await self._wait_for(server.ready, child)
        self._steps.done("redis", begun)

    async def _start_postgres(self) -> None:
        begun = time.monotonic()
        if self._environ.get("DATABASE_URL"):
            await asyncio.to_thread(postgres.check, self._values["DATABASE_URL"])
            return self._steps.done("postgres (external)", begun)
        os_user = await asyncio.to_thread(postgres.choose_os_user, self._home)
        server = postgres.Postgres(self._home, os_user)
        child = self._launch(services.postgres_service(server, self._environ))
        await self._wait_for(server.ready, child)
        self._steps.done("postgres", begun)

    async def _provision(self, environment: Mapping[str, str]) -> None:
        begun = time.monotonic()
        database = self._values["DATABASE_URL"]
        if not await asyncio.to_thread(provision.is_current, self._home, database, self._api_url):
            command = [sys.executable, "-m", "stack.provision"]
            command += ["--credentials", str(self._home.credentials), "--api-url", self._api_url]
            await _run_to_end("The migrations", command, environment)
            await asyncio.to_thread(provision.remember, self._home, database)
        self._steps.done("migrations", begun)

    async def _wait_until_ready(self, launched_at: float) -> None:
        seen: set[str] = {"database", "redis"}
        state = readiness.Readiness()

        def is_ready() -> bool:
            nonlocal state
            state = readiness.ask(self._port, time.monotonic() - launched_at)
            return state.ready

        def report() -> None:
            for name in sorted(({"api"} if state.reachable else set()) | state.working - seen):
                if name not in seen:
                    self._steps.done(name.replace("_", " "))
                    seen.add(name)

        try:
            await self._wait_for(is_ready, *self._children.values(), each_time=report, poll=_POLL_READY)
        except TooSlow as error:
            reasons = "; ".join(f"{name}: {why}" for name, why in state.missing.items()) or "the API does not answer"
            raise StackError(
                f"Not ready after {_START_PATIENCE:.0f} s ({reasons}). The logs are in {self._home.logs}/."
            ) from error

    async def _wait_for(
        self,
        condition: Callable[[], bool],
        *children: Supervised,
        each_time: Callable[[], None] = lambda: None,
        poll: float = _POLL,
    ) -> None:
        """Wait for `condition`. Raises StackError when one of `children` keeps ending, TooSlow after a time limit."""
        until = time.monotonic() + _START_PATIENCE
        while True:
            met = await asyncio.to_thread(condition)
            each_time()
            if met:
                return
            for child in children:
                if child.failures >= _TOO_MANY_DEATHS:
                    log = self._home.logs / f"{child.service.name}.log"
                    raise StackError(
                        f"{child.service.name} does not stay up ({child.last_exit}). The end of {log}:\n"
                        f"{child.last_output}"
                    )
            if time.monotonic() > until:
                names = ", ".join(child.service.name for child in children)
                raise TooSlow(f"{names}: not up after {_START_PATIENCE:.0f} s. See {self._home.logs}/.")
            await asyncio.sleep(poll)

    def _launch(self, service: Service) -> Supervised:
        child = Supervised(service, self._home.logs, self._report, self._on_alert, self._write_pids)
        self._children[service.name] = child
        child.start()
        return child

    async def _stop(self) -> None:
        """Stop stage by stage. Each stage uses the mode that holds when it begins: Ctrl-C may follow a SIGTERM."""
        for stage in services.stop_order([child.service for child in self._children.values()]):
            await asyncio.gather(
                *(self._children[service.name].stop(self._stop_mode or StopMode.NOW) for service in stage)
            )
        with contextlib.suppress(FileNotFoundError):
            (self._home.path / "pids.json").unlink()

    def _write_pids(self) -> None:
        """Write pids.json for tests and operators. A restarted process has a new pid."""
        pids = {name: child.pid for name, child in self._children.items() if child.pid}
        config.write_json(self._home.path / "pids.json", {"supervisor": os.getpid(), **pids}, durable=False)

    def _report(self, text: str) -> None:
        if self._stop_mode is None:
            print(text, file=sys.stderr, flush=True)

    def _on_alert(self, line: str) -> None:
        """Show a warning or error of a process. During the start only the runner's: the others wait for each other."""
        if (self._is_up or line.startswith("runner:")) and line != self._last_alert:
            self._report(line)
        self._last_alert = line


async def _run_to_end(what: str, command: list[str], environment: Mapping[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *launched(command),
        cwd=ROOT,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        end = "\n".join(output.decode(errors="replace").strip().splitlines()[-20:])
        raise StackError(f"{what} failed:\n{end}")
