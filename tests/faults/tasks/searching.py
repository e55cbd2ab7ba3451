"""Looks for a secret, in whatever disguise, in all that a stack keeps, sends and writes."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg2
import redis

from stack.harness import Stack
from tests.faults.tasks.workers import redis_url
from tests.integration.driving import manage

_ADMIN_PAGES = """
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
client = Client(HTTP_HOST="127.0.0.1")
user, _ = get_user_model().objects.get_or_create(email="operator@example.com", is_staff=True, is_superuser=True)
client.force_login(user)
print(client.get(reverse("admin:index")).content.decode())
for model in admin.site._registry:
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    print(client.get(reverse(f"{name}_changelist")).content.decode())
    for key in model._default_manager.values_list("pk", flat=True)[:40]:
        print(client.get(reverse(f"{name}_change", args=[key]), follow=True).content.decode())
"""


def disguises(secret: str) -> set[bytes]:
    """The secret as it may be written down: also in the middle of something that is encoded in base64."""
    raw = secret.encode()
    forms = {raw, quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode(), secret.encode("utf-16-le")}
    forms |= {raw.hex().encode(), raw.hex().upper().encode()}
    for before in range(3):
        bits = 8 * before, 8 * (before + len(raw))
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            forms.add(encode(bytes(before) + raw)[-(-bits[0] // 6) : bits[1] // 6])
    return forms


def holds(data: bytes, secret: str) -> bool:
    return any(form in data for form in disguises(secret))


def database(stack: Stack) -> bytes:
    """Every row of every table, as COPY writes it: binary columns in hexadecimal digits."""
    url = json.loads((stack.home / "stack.json").read_text())["DATABASE_URL"]
    dump = io.StringIO()
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            cursor.copy_expert(f"COPY {table} TO STDOUT", dump)
    return dump.getvalue().encode()


def redis_keys(stack: Stack) -> dict[bytes, bytes]:
    """Every key of Redis with its value as DUMP gives it, and readable where it is a list or a hash."""
    found = {}
    with contextlib.closing(redis.Redis.from_url(redis_url(stack))) as client:
        for name in client.scan_iter(count=1000):
            value = client.dump(name) or b""
            if client.type(name) == b"list":
                value += b"\n".join(client.lrange(name, 0, -1))
            elif client.type(name) == b"hash":
                value += b"\n".join(client.hvals(name))
            found[name] = value
    return found


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below `folder` that can be read, with its path among what it holds."""
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            with contextlib.suppress(OSError):  # gone meanwhile
                if path.is_file():
                    yield str(path), str(path).encode() + b"\n" + path.read_bytes()


def admin_pages(stack: Stack) -> bytes:
    """What an operator is shown: every list, and the newest of every kind."""
    return manage(stack, "shell", "--no-imports", "-c", _ADMIN_PAGES).encode()


def processes(stack: Stack) -> bytes:
    """Their command lines and environments."""
    told = b""
    for pid in stack.pids.values():
        with contextlib.suppress(OSError):
            told += Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    return told


class Monitor:
    """Every command that Redis is given while the block lasts: `heard`."""

    def __init__(self, stack: Stack) -> None:
        self.heard = bytearray()
        url = redis_url(stack)
        parts = urlsplit(url)
        if parts.scheme == "unix":
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(parts.path)
        else:
            self._socket = socket.create_connection((parts.hostname or "", parts.port or 6379))

    def __enter__(self) -> Monitor:
        self._socket.sendall(b"MONITOR\r\n")
        assert self._socket.recv(5) == b"+OK\r\n"
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while data := self._socket.recv(1 << 16):
            self.heard += data


class Lurker:
    """Reads what tasks write into `folder` all the while: `found` names the files in which the secret was."""

    def __init__(self, folder: Path, secret: str) -> None:
        self.found: set[str] = set()
        self.read: set[str] = set()
        self._folder, self._secret = folder, secret
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._lurk)

    def __enter__(self) -> Lurker:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _lurk(self) -> None:
        while not self._over.wait(0.1):
            for own in [*self._folder.glob("browsa-task-*"), *self._folder.glob("browser*use*")]:
                for name, content in files(own):
                    self.read.add(name)
                    if holds(content, self._secret):
                        self.found.add(name)
