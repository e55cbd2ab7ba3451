"""Loads a list of pages, several at once. A page that fails has a row like the others, and is free."""

from __future__ import annotations

import asyncio
from collections import deque

from asgiref.sync import sync_to_async
from django.conf import settings

from apps.jobs import selectors
from apps.jobs.pages.loading import PageFailed, PageJob
from apps.jobs.pages.page_writer import PageWriter, load_patiently, page_job, slots
from apps.jobs.pages.rows import ResultsFull, failed_row, is_full, loaded_row
from apps.jobs.pages.services import Row
from apps.jobs.worker.executor import Cancelled, Completed, Outcome, Run
from apps.jobs.worker.retry import unless_cancelled


async def batch(run: Run) -> Outcome:
    job, places = page_job(run), slots(run)
    done = await run.positions_done()
    left = deque((position, url) for position, url in enumerate(run.params["urls"]) if position not in done)
    writer = PageWriter(run, size=await sync_to_async(selectors.size_of_pages)(job_id=job.id))

    async def work_off() -> None:
        while left:
            async with places:
                if not left:
                    return
                position, url = left.popleft()
                row = await _row(job, position, url, full=is_full(writer.size))
            await writer.put(row)

    async def all_of_it() -> bool:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(settings.PAGES_PER_WORKSPACE, len(left))):
                group.create_task(work_off())
        return True

    finished = await unless_cancelled(run, all_of_it())
    await writer.flush()
    return Completed() if finished else Cancelled()


async def _row(job: PageJob, position: int, url: str, *, full: bool) -> Row:
    if full:
        return failed_row(position, url, ResultsFull())
    try:
        return loaded_row(position, url, await load_patiently(job, url, position=position))
    except PageFailed as failed:
        return failed_row(position, url, failed.error, failed.agent)
