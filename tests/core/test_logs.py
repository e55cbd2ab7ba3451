"""What is logged as JSON, and that no capability is."""

from __future__ import annotations

import json
import logging

import pytest

from apps.core.logs import JSONFormatter
from tests.cast import call

CAPABILITY = "r1-" + "ab12" * 12
CDP_URL = f"ws://127.0.0.1:8001/api/v1/cdp/{CAPABILITY}/ws/page/ABCDEF"


def formatted(record: logging.LogRecord) -> str:
    return JSONFormatter().format(record)


@pytest.mark.parametrize(
    "path",
    [
        f"/api/v1/cdp/{CAPABILITY}",
        f"/api/v1/cdp/{CAPABILITY}/ws/page/ABCDEF?x=1",
        f"/x//api/v1/cdp/{CAPABILITY}/json/version",
        f"/api/v1/cdp/%22%20%0a%5c%c3%a9{CAPABILITY}/json",
        f"/api/v1/cdp%2F{CAPABILITY}",
        f"/v1/agents/api/v1/cdp/{CAPABILITY}",
    ],
)
def test_a_cdp_url_asked_of_the_wrong_port_is_not_logged(db: None, caplog: pytest.LogCaptureFixture, path: str) -> None:
    with caplog.at_level("DEBUG"):
        assert call("GET", path).status in (401, 404)

    lines = [formatted(record) for record in caplog.records]
    assert any("/api/v1/cdp/[redacted] 40" in line for line in lines)
    assert all(json.loads(line) and CAPABILITY not in line for line in lines)


def test_a_cdp_url_in_any_line_is_not_logged() -> None:
    record = logging.makeLogRecord({"msg": "went to %s and on", "args": (CDP_URL,), "urls": [CDP_URL, "/x"]})
    try:
        raise ValueError(CDP_URL)
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)

    line = json.loads(formatted(record))

    assert CAPABILITY not in json.dumps(line)
    assert line["message"] == "went to ws://127.0.0.1:8001/api/v1/cdp/[redacted] and on"
    assert line["urls"][1] == "/x"


def test_other_paths_are_logged_whole(db: None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        call("GET", "/nope/api")

    assert json.loads(formatted(caplog.records[-1]))["path"] == "/nope/api"
