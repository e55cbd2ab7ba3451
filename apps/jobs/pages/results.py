"""The results of jobs that load pages, built from the rows of their pages."""

from __future__ import annotations

from typing import Any

from apps.jobs import selectors
from apps.jobs.models import Job
from apps.jobs.results import Builder


def single(job: Job) -> dict[str, Any] | None:
    """The body of the synchronous call; None when it is not stored, because the client of the call has it."""
    for page in selectors.each_page(job_id=job.id):
        return page.payload
    return None


def batch(job: Job) -> dict[str, Any]:
    return _listed(job, "results")


def crawl(job: Job) -> dict[str, Any]:
    return _listed(job, "pages")


def _listed(job: Job, name: str) -> dict[str, Any]:
    rows = [
        {name: value for name, value in page.payload.items() if not name.startswith("_")}
        for page in selectors.each_page(job_id=job.id)
    ]
    rows = [row for row in rows if "duplicate_of" not in row]
    completed = sum(row["status"] == "completed" for row in rows)
    return {name: rows, "completed": completed, "failed": len(rows) - completed}


BUILDERS: dict[str, Builder] = {
    "scrape": single,
    "extract": single,
    "screenshot": single,
    "batch": batch,
    "crawl": crawl,
}
