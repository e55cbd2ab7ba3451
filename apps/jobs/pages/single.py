"""Loads one page in a worker: scrape, extract and screenshot with `async`."""

from __future__ import annotations

from asgiref.sync import sync_to_async

from apps.agents.services import quick_agents as agents
from apps.jobs.pages.loading import PageFailed
from apps.jobs.pages.page_writer import load_patiently, page_job
from apps.jobs.services.progress import PageRecord
from apps.jobs.worker.executor import Cancelled, Completed, Failed, Outcome, Run
from apps.jobs.worker.retry import unless_cancelled


async def single(run: Run) -> Outcome:
    job, url = page_job(run), run.params["url"]
    try:
        loaded = await unless_cancelled(run, load_patiently(job, url))
    except PageFailed as failed:
        await sync_to_async(agents.record)(workspace_id=job.workspace_id, agents=[failed.agent])
        return Failed(failed.error.code, failed.error.message, agent_id=failed.agent.id)
    if loaded is None:
        return Cancelled(used=0)
    await sync_to_async(agents.record)(workspace_id=job.workspace_id, agents=[loaded.agent])
    page = PageRecord(0, url, "completed", loaded.body)
    return Completed(used=job.price, page=page, agent_id=loaded.agent.id)
