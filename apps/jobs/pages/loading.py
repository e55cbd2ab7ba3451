"""Loads one page of a job: builds the request to the runner, and the result from its answer."""

from __future__ import annotations

import asyncio
import re
import uuid
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from apps.agents import page_client as runner
from apps.agents.page_client import PageResult, PageWish
from apps.agents.services.quick_agents import QuickAgent, agent_id
from apps.core.errors import ApiError, UpstreamTimeout, UpstreamUnavailable
from apps.jobs.kinds import BULK, Kind
from apps.jobs.pages.markdown import NoMarkdown, markdown

FORMATS = ("html", "text", "links", "screenshot", "markdown")

# In rows of batches and crawls longer HTML is cut, and the row's `truncated` says so. Single pages have the runner's
# limit of ten million characters.
MAX_ROW_HTML_CHARS = 2 * 1024 * 1024
MAX_SCREENSHOT_CHARS = 16 * 1024 * 1024

_BLANKS = re.compile(r"[^\S\n]+")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")

_OPTIONS = ("os_type", "country", "wait_until", "wait_for", "timeout_ms", "max_chars", "full_page")


@dataclass(frozen=True, slots=True)
class PageJob:
    """What all pages of a job have in common. `price` is the price of one page in credits."""

    id: uuid.UUID
    workspace_id: uuid.UUID
    kind: Kind
    params: dict[str, Any]
    price: int

    @property
    def call(self) -> str:
        """What each page is loaded for: `scrape`, `extract`, `screenshot` or `crawl`. A batch has it as its mode."""
        return self.params.get("mode", "scrape") if self.kind == "batch" else self.kind

    def request(self, url: str) -> PageWish:
        options = {name: self.params[name] for name in _OPTIONS if name in self.params}
        if self.call == "extract":
            options["max_chars"] = 2 * self.params["max_chars"]  # cleaning shortens the text
        return PageWish(
            url=url,
            queue=str(self.workspace_id),
            formats=_runner_formats(self),
            block_resources=tuple(self.params.get("block_resources", ())),
            **options,
        )


@dataclass(frozen=True, slots=True)
class Loaded:
    """A page that was loaded. `body` is the caller's result, `page` the runner's answer."""

    body: dict[str, Any]
    agent: QuickAgent
    page: PageResult


class PageFailed(Exception):
    """A page that could not be loaded, with the API's error. Its agent has failed."""

    def __init__(self, error: ApiError, agent: QuickAgent) -> None:
        super().__init__(error.message)
        self.error = error
        self.agent = agent


async def load(job: PageJob, url: str, *, position: int = 0, within: float | None = None) -> Loaded:
    """Raises PageFailed, also when the page takes longer than `within` seconds."""
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
            page = await runner.fetch(job.request(url))
            content = await _content(job, page)
    except ApiError as error:
        raise PageFailed(error, agent(0, error)) from error
    except TimeoutError as error:
        timeout = UpstreamTimeout("The page was not ready in time.")
        raise PageFailed(timeout, agent(0, timeout)) from error
    loaded = agent(job.price)
    body = {
        "url": page.url,
        "final_url": page.url,
        "http_status": page.http_status,
        "content_type": page.content_type,
        "title": page.title,
        **content,
        "agent_id": loaded.id,
        "trust_score": loaded.trust_score,
        "cost_credits": job.price,
        "duration_ms": page.duration_ms,
        **job.params.get("routing", {}),
    }
    return Loaded(body, loaded, page)


def _runner_formats(job: PageJob) -> tuple[str, ...]:
    if job.call == "extract":
        return ("text",)
    if job.call == "screenshot":
        return ("screenshot",)
    wanted = set(job.params["formats"])
    if "markdown" in wanted:
        wanted.add("flat")
    if job.call == "crawl":
        wanted.add("links")
    return tuple(sorted(wanted - {"markdown"}))


async def _content(job: PageJob, page: PageResult) -> dict[str, Any]:
    """The part of the result that depends on the kind. Raises UpstreamUnavailable for a page that is too large."""
    if job.call == "extract":
        text = cleaned(page.text or "", max_chars=job.params["max_chars"])
        prompt = {"prompt": job.params["prompt"]} if "prompt" in job.params else {}
        return {"text": text, "schema": job.params.get("schema"), **prompt}
    if len(page.screenshot_png_b64 or "") > MAX_SCREENSHOT_CHARS:
        raise UpstreamUnavailable("The page is too large: its screenshot has more than 12 MiB.")
    if job.call == "screenshot":
        return {"screenshot_png_b64": page.screenshot_png_b64}
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
            content["markdown"] = await markdown(page.flat or "", content_type=page.content_type)
        except NoMarkdown as error:
            raise UpstreamUnavailable(f"The page could not be read: {error}.") from error
    return content


def cleaned(text: str, *, max_chars: int) -> str:
    """Text for a model: one space between words, no empty lines, no invisible characters, at most `max_chars` long."""
    spaced = _BLANKS.sub(" ", _INVISIBLE.sub("", text))
    lines = (line.strip() for line in spaced.splitlines())
    return "\n".join(line for line in lines if line)[:max_chars].rstrip()
