"""An executor is a coroutine that does the work of one kind of job.

It takes a Run and returns an Outcome. `worker` claims the job, sends the heartbeats and writes the end. Another worker
may execute the same job again: an executor of pages skips the positions in `positions_done`. When `cancelled` is set,
it stops soon and returns Cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async

from apps.jobs import selectors
from apps.jobs.models import Job
from apps.jobs.services import progress
from apps.jobs.services.claims import Claim
from apps.jobs.services.progress import PageRecord


@dataclass(frozen=True, slots=True)
class Completed:
    """`used` is the price in credits; None means the sum of its pages and steps. `result` is for kinds without a
    builder in `results`. `page` and the agent that loaded it are recorded in the transaction
    that ends the job.
    """

    used: int | None = None
    result: dict[str, Any] | None = None
    page: PageRecord | None = None
    agent_id: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """`used` is the price in credits; None means the sum of its pages and steps."""

    code: str
    message: str
    used: int | None = 0
    page: PageRecord | None = None
    result: dict[str, Any] | None = None
    agent_id: str = ""


@dataclass(frozen=True, slots=True)
class Cancelled:
    used: int | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """The job waits for a human's answer, as its last event says. No worker has a claim on it until then."""


Outcome = Completed | Failed | Cancelled | Waiting


class Run:
    """One execution of a job. Its coroutines raise ClaimLost when another process has claimed the job. An executor does
    not catch that.
    """

    def __init__(self, *, job: Job, claim: Claim, cancelled: asyncio.Event) -> None:
        self.job = job
        self.claim = claim
        self.cancelled = cancelled

    @property
    def params(self) -> dict[str, Any]:
        params: dict[str, Any] = self.job.params
        return params

    async def positions_done(self) -> set[int]:
        return await sync_to_async(selectors.positions_done)(job_id=self.claim.job_id)

    async def record_page(self, page: PageRecord) -> bool:
        """False when the position was recorded before."""
        return await sync_to_async(progress.record_page)(self.claim, page)

    async def progress(self, *, done: int | None = None, total: int | None = None) -> None:
        await sync_to_async(progress.progress)(self.claim, done=done, total=total)


Executor = Callable[[Run], Awaitable[Outcome]]

EXECUTORS: dict[str, Executor] = {}
