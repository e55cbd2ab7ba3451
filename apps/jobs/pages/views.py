"""`/v1/quick/*`."""

from __future__ import annotations

import uuid
from http import HTTPStatus
from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from apps.accounts.authentication import workspace_of
from apps.core import errors, openapi, tracing
from apps.core.api import AsyncApiView, json_response
from apps.core.fields import checked
from apps.core.idempotency import takes_key
from apps.jobs.kinds import Kind
from apps.jobs.pages import serializers as wire
from apps.jobs.pages import services, sync_execution
from apps.jobs.serializers import AcceptedJobSerializer, accepted_body

_TAG = ["Quick calls"]
_ASYNC_PARAMETER = OpenApiParameter("async", bool, description="The same as `async` in the body.")
_BEGINNING = (errors.BadRequest, errors.InsufficientCredit)
READING = (*_BEGINNING, errors.UrlNotAllowed, errors.Conflict, errors.UpstreamUnavailable, errors.UpstreamTimeout)
_PRICE = "A page that was read costs 1 credit; one that gave nothing is free."
_ASYNC = " With `async: true` the answer is a job, at once. " + _PRICE


class _PageView(AsyncApiView):
    """Loads one page, synchronously or as a job."""

    kind: ClassVar[Kind]
    serializer: ClassVar[type[serializers.Serializer[Any]]]

    async def post(self, request: Request) -> HttpResponse:
        params = checked(self.serializer, request)
        if params.pop("async") or _asks_for_job(request):
            return await _accepted(workspace_of(request), self.kind, params)
        return json_response(
            await sync_execution.read_page(workspace_id=workspace_of(request), kind=self.kind, params=params)
        )


@takes_key(binds="job")
class ScrapeView(_PageView):
    kind = "scrape"
    serializer = wire.ScrapeSerializer

    @extend_schema(
        operation_id="quick_scrape",
        summary="Scrape a page",
        description="Gives what a browser makes of a URL, in the `formats` asked for. A page that answers 404 or 500 is"
        " a result with that `http_status`." + _ASYNC,
        tags=_TAG,
        parameters=[_ASYNC_PARAMETER],
        request=wire.ScrapeSerializer,
        responses={
            200: wire.ScrapeResultSerializer,
            202: AcceptedJobSerializer,
            **openapi.failures(*READING),
        },
        examples=[
            OpenApiExample(
                "Text and links",
                value={"url": "https://news.ycombinator.com", "formats": ["text", "links"]},
                request_only=True,
            ),
            OpenApiExample("In the background", value={"url": "https://example.com", "async": True}, request_only=True),
        ],
    )
    async def post(self, request: Request) -> HttpResponse:
        return await super().post(request)


@takes_key(binds="job")
class ExtractView(_PageView):
    kind = "extract"
    serializer = wire.ExtractSerializer

    @extend_schema(
        operation_id="quick_extract",
        summary="Get a page's clean text for an extraction",
        description="Gives the page's clean text, with the schema or the prompt as it was sent, ready for a model of"
        " yours. No model is asked here." + _ASYNC,
        tags=_TAG,
        parameters=[_ASYNC_PARAMETER],
        request=wire.ExtractSerializer,
        responses={
            200: wire.ExtractResultSerializer,
            202: AcceptedJobSerializer,
            **openapi.failures(*READING),
        },
        examples=[
            OpenApiExample(
                "With a prompt",
                value={"url": "https://example.com", "prompt": "return the H1 text"},
                request_only=True,
            ),
            OpenApiExample(
                "With a schema",
                value={
                    "url": "https://example.com",
                    "schema": {"type": "object", "properties": {"title": {"type": "string"}}},
                },
                request_only=True,
            ),
        ],
    )
    async def post(self, request: Request) -> HttpResponse:
        return await super().post(request)


@takes_key(binds="job")
class ScreenshotView(_PageView):
    kind = "screenshot"
    serializer = wire.ScreenshotSerializer

    @extend_schema(
        operation_id="quick_screenshot",
        summary="Take a screenshot",
        description="A PNG in base64." + _ASYNC,
        tags=_TAG,
        parameters=[_ASYNC_PARAMETER],
        request=wire.ScreenshotSerializer,
        responses={
            200: wire.ScreenshotResultSerializer,
            202: AcceptedJobSerializer,
            **openapi.failures(*READING),
        },
        examples=[
            OpenApiExample("The whole page", value={"url": "https://example.com", "full_page": True}, request_only=True)
        ],
    )
    async def post(self, request: Request) -> HttpResponse:
        return await super().post(request)


@takes_key(binds="job")
class BatchView(AsyncApiView):
    @extend_schema(
        operation_id="quick_batch",
        summary="Scrape many pages",
        description=f"1 to {wire.MAX_URLS} URLs as one job, several at once. Each URL gets the call that `mode` names,"
        " with that call's options. `result.results` has a row for each, in order: `{url, status, …}` with that call's"
        " result, or `error_code` and `error_message`. HTML is cut at two million characters a page (`truncated` names"
        " what was cut); pages beyond 64 MiB in all fail. The price of all pages is held; pages that were loaded are"
        " charged.",
        tags=_TAG,
        request=wire.BatchSerializer,
        responses={202: AcceptedJobSerializer, **openapi.failures(*_BEGINNING)},
        examples=[
            OpenApiExample(
                "Two pages",
                value={"urls": ["https://example.com", "https://example.org"], "formats": ["text", "links"]},
                request_only=True,
            )
        ],
    )
    async def post(self, request: Request) -> HttpResponse:
        params = checked(wire.BatchSerializer, request)
        return await _accepted(workspace_of(request), "batch", params, pages=len(params["urls"]))


@takes_key(binds="job")
class CrawlView(AsyncApiView):
    @extend_schema(
        operation_id="quick_crawl",
        summary="Crawl a site",
        description="Follows links from a page, breadth first, each address once, as one job; rows as for a batch, in"
        " `result.pages`.\n\n`include` and `exclude` are globs: `*` is any number of any characters, `?` is one,"
        " `[a-z]` is one of these, `[!a-z]` one of the others. One that holds `://` is compared with the whole URL, any"
        " other with its path (with and without the query). What `exclude` matches is not visited; with `include`, only"
        " what it matches. The start is always visited. Of each page the first 2,000 links are looked at.\n\n"
        "robots.txt (RFC 9309) is respected as `Browsa`, unless"
        " `respect_robots` is false. The price of `max_pages` is held, that of the pages that were read is charged.",
        tags=_TAG,
        request=wire.CrawlSerializer,
        responses={202: AcceptedJobSerializer, **openapi.failures(*_BEGINNING)},
        examples=[
            OpenApiExample(
                "A blog",
                value={"url": "https://example.com", "max_pages": 50, "include": ["/blog/*"], "formats": ["markdown"]},
                request_only=True,
            )
        ],
    )
    async def post(self, request: Request) -> HttpResponse:
        params = checked(wire.CrawlSerializer, request)
        return await _accepted(workspace_of(request), "crawl", params, pages=params["max_pages"])


async def _accepted(workspace_id: uuid.UUID, kind: Kind, params: dict[str, Any], pages: int = 1) -> HttpResponse:
    job = await sync_to_async(services.begin)(workspace_id=workspace_id, kind=kind, params=params, pages=pages)
    tracing.bind(job_id=job.id)
    return json_response(accepted_body(job), status=HTTPStatus.ACCEPTED)


def _asks_for_job(request: Request) -> bool:
    """`?async=true` means the same as `async: true` in the body. Raises ValidationFailed for any other value."""
    values = request.query_params.getlist("async")
    if values not in ([], ["true"], ["false"]):
        raise errors.ValidationFailed({"async": ["must be true or false"]})
    return values == ["true"]
