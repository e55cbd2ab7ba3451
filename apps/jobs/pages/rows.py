"""The rows of batches and crawls. Pure."""

from __future__ import annotations

from typing import Any

from apps.agents.services.quick_agents import QuickAgent
from apps.core.errors import ApiError, PayloadTooLarge
from apps.jobs.pages.loading import Loaded
from apps.jobs.pages.services import Row
from apps.jobs.services.progress import PageRecord

# Under this name a row keeps what a crawl's frontier needs of it; not shown.
PRIVATE = "_crawl"

# What a job's rows may come to as JSON; pages beyond fail, free of charge, without being loaded.
MAX_JOB_BYTES = 64 * 1024 * 1024


class ResultsFull(PayloadTooLarge):
    """The rows of the job have reached MAX_JOB_BYTES."""

    def __init__(self) -> None:
        super().__init__(f"The results of this job have reached {MAX_JOB_BYTES // 2**20} MiB: ask for fewer formats.")


def is_full(size: int) -> bool:
    return size >= MAX_JOB_BYTES


def loaded_row(position: int, url: str, loaded: Loaded, **more: Any) -> Row:
    """`url` is as it was asked for; where it led to is `final_url`."""
    body = {key: value for key, value in loaded.body.items() if key != "url"}
    payload = {"url": url, "status": "completed", "final_url": loaded.page.url, **body, **more}
    return Row(PageRecord(position, url, "completed", payload), loaded.agent)


def failed_row(position: int, url: str, error: ApiError, agent: QuickAgent | None = None, **more: Any) -> Row:
    payload: dict[str, Any] = {
        "url": url,
        "status": "failed",
        "error_code": error.code,
        "error_message": error.message,
        **more,
    }
    if agent is not None:
        payload["agent_id"] = agent.id
    return Row(PageRecord(position, url, "failed", payload), agent)


def duplicate_row(position: int, url: str, page: str) -> Row:
    """An address that led to a page which has a row already: free, and not shown."""
    payload = {"url": url, "status": "completed", "duplicate_of": page}
    return Row(PageRecord(position, url, "completed", payload, credits=0))
