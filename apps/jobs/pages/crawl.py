"""Follows a site's links. `frontier` decides where to; what has been found is kept in the rows, so that another worker
goes on from them.
"""

from __future__ import annotations

import asyncio
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings

from apps.agents import page_client as runner
from apps.agents.page_client import PageWish
from apps.agents.services import quick_agents as agents
from apps.core.errors import ApiError, UpstreamUnavailable, UrlNotAllowed
from apps.jobs import selectors
from apps.jobs.pages import robots
from apps.jobs.pages.canonical import origin
from apps.jobs.pages.frontier import Frontier, Past, Rules, Visit
from apps.jobs.pages.globs import Glob
from apps.jobs.pages.loading import Loaded, PageFailed
from apps.jobs.pages.page_writer import PageWriter, is_passing, load_patiently, page_job, slots
from apps.jobs.pages.robots import Robots
from apps.jobs.pages.rows import PRIVATE, ResultsFull, duplicate_row, failed_row, is_full, loaded_row
from apps.jobs.worker.executor import Cancelled, Completed, Failed, Outcome, Run
from apps.jobs.worker.retry import retried, unless_cancelled

ROBOTS_TIMEOUT_MS = 15_000


async def crawl(run: Run) -> Outcome:
    past, size = await sync_to_async(_past)(run)
    crawling = Crawling(run, past, size)
    verdict = await unless_cancelled(run, crawling.go())
    await crawling.writer.flush()
    return verdict or Cancelled()


class Crawling:
    """One run of a crawl."""

    def __init__(self, run: Run, past: list[Past], size: int) -> None:
        self._run = run
        self._job = page_job(run)
        self._frontier = Frontier(_rules(run), past)
        self._robots: dict[tuple[str, str, int], asyncio.Future[Robots]] = {}
        self._places = slots(run)
        self.writer = PageWriter(run, size=size)

    async def go(self) -> Outcome:
        """Raises what a visit raises: ClaimLost, not a page's failure."""
        under_way: set[asyncio.Task[ApiError | None]] = set()
        try:
            while True:
                while len(under_way) < settings.PAGES_PER_WORKSPACE and (visit := self._frontier.next()):
                    under_way.add(asyncio.create_task(self._visit(visit)))
                if not under_way:
                    break
                done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for error in filter(None, [task.result() for task in done]):
                    return Failed(error.code, error.message)  # the start itself gave nothing
        finally:
            tasks: list[asyncio.Future[Any]] = [*under_way, *self._robots.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._run.progress(total=self._frontier.total)
        return Completed()

    async def _visit(self, visit: Visit) -> ApiError | None:
        """An error of the start page is returned; what later pages give becomes rows."""
        refusal = await self._refusal(visit)
        if refusal is not None:
            self._frontier.skip(visit)
            return refusal if visit.depth == 0 else None
        try:
            async with self._places:
                if is_full(self.writer.size):
                    raise ResultsFull
                loaded = await load_patiently(self._job, visit.url, position=visit.position)
        except PageFailed as failed:
            if visit.depth == 0:
                await sync_to_async(agents.record)(workspace_id=self._job.workspace_id, agents=[failed.agent])
                return failed.error
            self._frontier.fail(visit)
            await self.writer.put(failed_row(visit.position, visit.url, failed.error, failed.agent, depth=visit.depth))
        except ApiError as error:
            self._frontier.fail(visit)
            await self.writer.put(failed_row(visit.position, visit.url, error, depth=visit.depth))
        else:
            await self._found(visit, loaded)
        return None

    async def _found(self, visit: Visit, loaded: Loaded) -> None:
        landed, named = loaded.page.url, loaded.page.links or []
        # Thousands of links and the globs of a customer: too long for the event loop.
        links = await asyncio.to_thread(self._frontier.eligible, visit, landed=landed, links=named)
        found = self._frontier.finish(visit, landed=landed, links=links)
        if found.verdict == "elsewhere":
            error = UrlNotAllowed(f"It leads away from the site, to {found.landed[:500]}.")
            row = failed_row(visit.position, visit.url, error, depth=visit.depth)
        elif found.verdict == "duplicate":
            row = duplicate_row(visit.position, visit.url, found.landed)
        else:
            kept = {"landed": found.landed, "links": found.links}
            row = loaded_row(visit.position, visit.url, loaded, depth=visit.depth, **{PRIVATE: kept})
        await self.writer.put(row)

    async def _refusal(self, visit: Visit) -> ApiError | None:
        """Why the site doesn't want this visit; None when it may be made."""
        if not self._run.params["respect_robots"]:
            return None
        site = origin(visit.url)
        if site not in self._robots:
            self._robots[site] = asyncio.create_task(self._ask_robots(robots.address(site)))
        rules = await asyncio.shield(self._robots[site])
        refusal = rules.refusal(visit.url)
        if refusal is None:
            return None
        message = f"{visit.url[:500]} is not visited: {refusal}. To visit it anyway, set respect_robots to false."
        return UpstreamUnavailable(message) if rules.closed else UrlNotAllowed(message)

    async def _ask_robots(self, address: str) -> Robots:
        wish = PageWish(
            url=address,
            queue=str(self._job.workspace_id),
            formats=("body",),
            os_type=self._run.params["os_type"],
            country=self._run.params["country"],
            timeout_ms=ROBOTS_TIMEOUT_MS,
            max_chars=robots.MAX_CHARS,
        )
        try:
            page = await retried(lambda: runner.fetch(wish), passing=is_passing)
        except UrlNotAllowed:
            return robots.ALLOWED  # the page itself will say so
        except ApiError as error:
            return Robots.unreachable(error.message)
        return Robots.found(page.http_status, page.body or "")


def _rules(run: Run) -> Rules:
    params = run.params
    return Rules(
        start=params["url"],
        max_pages=params["max_pages"],
        max_depth=params["max_depth"],
        same_origin=params["same_origin"],
        include=tuple(Glob.parse(pattern) for pattern in params["include"]),
        exclude=tuple(Glob.parse(pattern) for pattern in params["exclude"]),
    )


def _past(run: Run) -> tuple[list[Past], int]:
    """What earlier runs of the job have written, and how large it is."""
    past, size = [], 0
    for page in selectors.each_page(job_id=run.job.id):
        payload = page.payload
        kept = payload.get(PRIVATE, {})
        visit = Visit(page.position, page.url, payload.get("depth", 0))
        past.append(Past(visit, kept.get("landed"), kept.get("links", ())))
        size += page.size
    return past, size
