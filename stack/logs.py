"""A process's log file of limited size, and the lines of it that the operator is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

_LIMIT = 5 * 2**20  # bytes; with one older file a process keeps at most twice as much
_LONGEST_LINE = 64 * 2**10
# Plain lines of Uvicorn, Celery and PostgreSQL, and Python's tracebacks.
_PLAIN = re.compile(r"\b(ERROR|CRITICAL|FATAL|PANIC)\b|\bWARNING browsa\b|^Traceback ")
_TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\d[ T][\d:.,]+ (UTC )?(\[\d+\] )?")
_LEVELS = frozenset({"warning", "error", "critical"})
_SHOWN = 300


def alert_text(line: str) -> str | None:
    """The part of a log line to show to the operator. None for lines below a warning."""
    if line.startswith("{"):
        try:
            record = json.loads(line)
        except ValueError:
            return None
        level = str(record.get("level", "")).lower()
        return f"{level}: {record.get('message', '')}"[:_SHOWN] if level in _LEVELS else None
    return _TIMESTAMP.sub("", line)[:_SHOWN] if _PLAIN.search(line) else None


class LogFile:
    """Appends to `path`; at the limit the file becomes `path.1` and a new one begins."""

    def __init__(self, path: Path, on_alert: Callable[[str], None]) -> None:
        self._path = path
        self._on_alert = on_alert
        self._file = path.open("ab", buffering=0)
        self._size = self._file.tell()
        self._rest = b""
        self.began_at = self._size

    def mark_start(self) -> None:
        """The process was started again: `began_at` is the byte offset at which its output starts."""
        self.began_at = self._size

    def write(self, data: bytes) -> None:
        if self._size + len(data) > _LIMIT:
            self._file.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._file = self._path.open("ab", buffering=0)
            self._size = self.began_at = 0
        self._file.write(data)
        self._size += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_LONGEST_LINE:]
        for line in lines:
            alert = alert_text(line.decode(errors="replace"))
            if alert:
                self._on_alert(alert)

    def close(self) -> None:
        self._file.close()
