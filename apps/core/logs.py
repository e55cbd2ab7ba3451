"""Log lines as JSON objects that carry the ids of the request, the workspace and the job.

The code never passes a secret to a log. But a caller may send a `cdp_url` to the wrong port, and a library may log one:
the capability in it is redacted, and so is the capability in the path of a live view.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime

from apps.core import tracing

_BEFORE = re.compile(r"/api/v1/cdp/|/live/")
_CAPABILITY = re.compile(rf'({_BEFORE.pattern})[^\s"\\]+')
_REDACTED = "[redacted]"
_ENCODER = json.JSONEncoder(default=str)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "request",
    "server_time",
}


def redacted_path(path: str) -> str:
    """A request's path without a capability."""
    found = _BEFORE.search(path)
    return path[: found.end()] + _REDACTED if found else path


class ExceptUnavailable(logging.Filter):
    """For `django.request`: a 503 already has a line with its reason and an access line."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "status_code", None) != 503


class JSONFormatter(logging.Formatter):
    """`{"time", "level", "logger", "message", "request_id", …}` and the fields of `extra=`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := tracing.request_id():
            line["request_id"] = request_id
        line.update(tracing.ids())
        line.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _CAPABILITY.sub(rf"\1{_REDACTED}", _ENCODER.encode(line))
