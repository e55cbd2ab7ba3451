"""Every code that the log of a job can hold is in docs/tasks.md."""

from __future__ import annotations

import re
from pathlib import Path

from django.conf import settings

from apps.core import errors

ROOT: Path = settings.BASE_DIR
# The modules whose errors become the code of a job: executors, sweeps, the loading of pages.
LOADING = (*sorted((ROOT / "apps/jobs/pages").glob("*.py")), ROOT / "apps/agents/page_client.py")
ENDING = [path for path in sorted((ROOT / "apps/jobs").rglob("*.py")) if "migrations" not in path.parts]
LITERAL = re.compile(r'(?:Failed|ProviderFailure)\(\s*"([A-Z_]+)"|code="([A-Z_]+)"|error_code": "([A-Z_]+)"')
# Raised to the client of a synchronous call whose job has ended otherwise.
NOT_OF_JOBS = {"CONFLICT"}


def codes() -> set[str]:
    found = {code for path in ENDING for groups in LITERAL.findall(path.read_text()) for code in groups if code}
    classes = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and hasattr(kind, "code")}
    for path in LOADING:
        for name in re.findall(r"^from apps\.core\.errors import (.*)$", path.read_text(), re.MULTILINE):
            used = [classes[one] for one in name.split(", ")]
            found |= {kind.code for kind in used if kind is not errors.ApiError}
    return found - NOT_OF_JOBS


def test_every_code_is_documented() -> None:
    rows = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs/tasks.md").read_text(), re.MULTILINE))

    assert {"STALLED", "LLM_ERROR", "CANCELLED", "RATE_LIMIT", "URL_NOT_ALLOWED"} <= codes()
    assert codes() == rows
