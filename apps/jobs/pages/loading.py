"""One page of a job: what the runner is asked for, and what the caller gets of its answer."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from apps.agents import page_client as runner
from apps.agents.page_client import PageResult, PageWish
from apps.agents.services.quick_agents import QuickAgent, agent_id
from apps.core.errors import ApiError, UpstreamTimeout, UpstreamUnavailable
from apps.jobs.kinds import BULK, Kind
from apps.jobs.pages.cleaning import cleaned
from apps.jobs.pages.markdown import NoMarkdown, markdown

FORMATS = ("html", "text", "links", "screenshot", "markdown")

# Rows of batches and crawls: a page's HTML is cut here (and says so in `truncated`); the runner refuses pages of more
# than ten million characters, which is the limit for single pages.
MAX_ROW_HTML_CHARS = 2 * 1024 * 1024
MAX_SCREENSHOT_CHARS = 16 * 1024 * 1024

_OPTIONS = ("os_type", "country", "wait_until", "wait_for", "timeout_ms", "max_chars", "full_page")


@dataclass(frozen=True, slots=True)
class PageJob:
    """What the pages of a job have in common. `price` is that of one page, in credits."""

    id: uuid.UUID
    workspace_id: uuid.UUID
    kind: Kind
    params: dict[str, Any]
    price: int

    def wish(self, url: str) -> PageWish:
        options = {name: self.params[name] for name in _OPTIONS if name in self.params}
        if self.kind == "extract":
            options["max_chars"] = 2 * self.params["max_chars"]  # cleaning takes some away
        return PageWish(
            url=url,
            queue=str(self.workspace_id),
            formats=_asked_of_the_runner(self.kind, self.params),
            block_resources=tuple(self.params.get("block_resources", ())),
            **options,
        )


@dataclass(frozen=True, slots=True)
class Loaded:
    """A page that was read: `body` is the caller's, `page` what the runner found."""

    body: dict[str, Any]
    agent: QuickAgent
    page: PageResult


class PageFailed(Exception):
    """A page that gave nothing, and why. Its agent has failed."""

    def __init__(self, error: ApiError, agent: QuickAgent) -> None:
        super().__init__(error.message)
        self.error = error
        self.agent = agent


async def load(job: PageJob, url: str, *, position: int = 0, within: float | None = None) -> Loaded:
    """Raises PageFailed, also after `within` seconds."""
    started = timezone.now()

    def agent(cost: int, error: ApiError | None = None) -> QuickAgent:
        return QuickAgent(
            id=agent_id(job.id, position),
            url=url,
            os_type=job.params["os_type"],
            country=job.params["country"],
            cost_credits=cost,
            started_at=started,
            error_code=error.code if error else "",
            error_message=error.message if error else "",
        )

    try:
        async with asyncio.timeout(within):
            page = await runner.fetch(job.wish(url))
            content = await _content(job, page)
    except ApiError as error:
        raise PageFailed(error, agent(0, error)) from error
    except TimeoutError as error:
        late = UpstreamTimeout("The page was not ready in time.")
        raise PageFailed(late, agent(0, late)) from error
    ours = agent(job.price)
    body = {
        "url": page.url,
        "http_status": page.http_status,
        "title": page.title,
        **content,
        "agent_id": ours.id,
        "trust_score": ours.trust_score,
        "cost_credits": job.price,
        "duration_ms": page.duration_ms,
        **job.params.get("routing", {}),
    }
    return Loaded(body, ours, page)


def _asked_of_the_runner(kind: Kind, params: dict[str, Any]) -> tuple[str, ...]:
    if kind == "extract":
        return ("text",)
    if kind == "screenshot":
        return ("screenshot",)
    wanted = set(params["formats"])
    if "markdown" in wanted:
        wanted.add("html")
    if kind == "crawl":
        wanted.add("links")
    return tuple(sorted(wanted - {"markdown"}))


async def _content(job: PageJob, page: PageResult) -> dict[str, Any]:
    """Raises UpstreamUnavailable for a page that can't be given in the form that was asked for."""
    if job.kind == "extract":
        text = cleaned(page.text or "", max_chars=job.params["max_chars"])
        return {"text": text, **{name: job.params[name] for name in ("schema", "prompt") if name in job.params}}
    if len(page.screenshot_png_b64 or "") > MAX_SCREENSHOT_CHARS:
        raise UpstreamUnavailable("The page is too large: its screenshot has more than 12 MiB.")
    if job.kind == "screenshot":
        return {"screenshot_png_b64": page.screenshot_png_b64}
    return await _formats(job, page)


async def _formats(job: PageJob, page: PageResult) -> dict[str, Any]:
    wanted = job.params["formats"]
    content: dict[str, Any] = {}
    if "html" in wanted:
        content["html"] = page.html or ""
        if job.kind in BULK and len(content["html"]) > MAX_ROW_HTML_CHARS:
            content.update(html=content["html"][:MAX_ROW_HTML_CHARS], truncated=["html"])
    if "text" in wanted:
        content["text"] = page.text or ""
    if "links" in wanted:
        content["links"] = page.links or []
    if "screenshot" in wanted:
        content["screenshot_png_b64"] = page.screenshot_png_b64
    if "markdown" in wanted:
        try:
            content["markdown"] = await markdown(page.html or "")
        except NoMarkdown as error:
            raise UpstreamUnavailable(f"The page could not be read: {error}.") from error
    return content
