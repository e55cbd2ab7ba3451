"""The stack's processes as values: their commands, stop signals and restart delays."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from signal import Signals

from stack import config, postgres, redis
from stack.child import launched

_FIRST_DELAY, _LONGEST_DELAY = 0.2, 5.0
_STABLE_AFTER = 10.0  # seconds; a process that ran this long starts again with the shortest delay

_PYTHON = (sys.executable, "-m")
_CELERY = (*_PYTHON, "celery", "--quiet", "-A")
_WORKER = (
    *(*_CELERY, "browsa", "worker", "--loglevel", "WARNING"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)


class StopMode(Enum):
    """DRAIN: finish running work, within a time limit. NOW: stop at once."""

    DRAIN = "drain"
    NOW = "now"


@dataclass(frozen=True)
class Service:
    """A process of the stack. `drain` and `now` are signals, each with the seconds until the next; then SIGKILL.

    Processes of a lower `stage` stop first, those of one stage together. `before` runs before every start, in a
    thread.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    stage: int
    drain: tuple[tuple[Signals, float], ...]
    now: tuple[tuple[Signals, float], ...]
    before: Callable[[], object] | None = None

    def signals(self, mode: StopMode) -> tuple[tuple[Signals, float], ...]:
        return self.now if mode is StopMode.NOW else self.drain


def restart_delay(failures: int) -> float:
    """Seconds before the next start after `failures` (from 1) short runs in a row: 0.2, 0.4, … 5."""
    return min(_FIRST_DELAY * 2.0 ** min(failures - 1, 30), _LONGEST_DELAY)


def count_failures(failures: int, ran_for: float) -> int:
    """The number of short runs in a row, after one that took `ran_for` seconds."""
    return 1 if ran_for >= _STABLE_AFTER else failures + 1


def stop_order(services: list[Service]) -> list[list[Service]]:
    """The services by stage: first worker, beat and runner, then the API, then PostgreSQL and Redis."""
    stages = sorted({service.stage for service in services})
    return [[service for service in services if service.stage == stage] for stage in stages]


def describe_exit(status: int) -> str:
    return f"killed by {Signals(-status).name}" if status < 0 else f"exit status {status}"


def applications(
    port: int, django: Mapping[str, str], runner: Mapping[str, str]
) -> tuple[Service, Service, Service, Service]:
    """api, worker, beat and runner.

    The runner and the worker stop while the api still listens, because the runner reports to it. The api stops
    after them. Raises StackError.
    """
    drain = float(config.drain_seconds(runner))
    term, now = signal.SIGTERM, signal.SIGINT
    # SIGQUIT is Celery's cold shutdown: the next start continues the jobs that it interrupts.
    quick = signal.SIGQUIT
    beat = (*_CELERY, "browsa.celery:clock", "beat", "--loglevel", "WARNING")
    return (
        Service("api", _api_command(port), django, 2, drain=((term, 20.0),), now=((term, 1.0),)),
        Service("worker", _WORKER, django, 1, drain=((term, drain),), now=((quick, 2.0),)),
        Service("beat", beat, django, 1, drain=((term, 3.0),), now=((term, 1.0),)),
        Service(
            "runner",
            (*_PYTHON, "runner"),
            runner,
            1,
            drain=((term, drain + 5.0), (now, 5.0)),
            now=((now, 5.0),),
        ),
    )


def _api_command(port: int) -> tuple[str, ...]:
    uvicorn = [*_PYTHON, "uvicorn", "browsa.asgi:application", "--host", "127.0.0.1", "--port", str(port)]
    uvicorn += ["--loop", "uvloop", "--http", "browsa.protocol:Protocol", "--ws", "none", "--lifespan", "on"]
    uvicorn += ["--no-access-log", "--no-server-header", "--log-level", "warning"]
    # Longer than clients and proxies keep idle connections (httpx 5 s, nginx 60 s). The client must close first: the
    # server cannot know whether a request is already on its way.
    uvicorn += ["--timeout-keep-alive", "75"]
    return (*uvicorn, "--timeout-graceful-shutdown", "15")


def postgres_service(server: postgres.Postgres, environment: Mapping[str, str]) -> Service:
    stop = ((postgres.STOP_SIGNAL, 15.0), (signal.SIGQUIT, 5.0))
    return Service("postgres", tuple(server.command()), environment, 3, stop, stop, before=server.prepare)


def redis_service(server: redis.Redis, environment: Mapping[str, str]) -> Service:
    stop = ((redis.STOP_SIGNAL, 5.0),)
    return Service("redis", tuple(server.command()), environment, 3, stop, stop)


def command_line(service: Service) -> list[str]:
    """The command line with the launcher. Those of the servers contain it, with their user and death signal."""
    return list(service.command) if service.name in ("postgres", "redis") else launched(service.command)
