"""`/v1/jobs`."""

from __future__ import annotations

import re
import uuid
from http import HTTPStatus

from asgiref.sync import sync_to_async
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.authentication import workspace_of
from apps.core import errors, openapi
from apps.core.api import ApiView, AsyncApiView, json_response
from apps.core.ids import check_uuid
from apps.core.pagination import CursorQuery
from apps.jobs import results, selectors, serializers
from apps.jobs.lifecycle import TERMINAL
from apps.jobs.models import Job
from apps.jobs.services import completion
from apps.jobs.waiting import streams

_TAG = ["Jobs"]
_MISSING = (errors.InvalidId, errors.NotFound)
MAX_WAIT = 120
_WAIT = {"type": "integer", "minimum": 1, "maximum": MAX_WAIT}
_SEQ = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}


class JobsView(ApiView):
    @extend_schema(
        operation_id="list_jobs",
        summary="List jobs",
        description="Newest first, without results.",
        tags=_TAG,
        parameters=[
            OpenApiParameter("status", str, enum=Job.Status.values),
            OpenApiParameter("kind", str, enum=Job.Kind.values),
            *openapi.PAGING,
        ],
        responses={200: serializers.JobsSerializer, **openapi.failures(errors.BadRequest)},
    )
    def get(self, request: Request) -> Response:
        page = selectors.jobs(
            workspace_id=workspace_of(request),
            status=_one_of(request, "status", Job.Status.values),
            kind=_one_of(request, "kind", Job.Kind.values),
            page=CursorQuery.from_query(request.query_params),
        )
        return Response(serializers.jobs_body(page))


class JobView(AsyncApiView):
    @extend_schema(
        operation_id="get_job",
        summary="Get a job",
        description="With `wait`, answers when the job is over or asks a human, or as it is when the time is up.",
        tags=_TAG,
        parameters=[OpenApiParameter("wait", _WAIT, description="Seconds.")],
        responses={200: serializers.JobSerializer, **openapi.failures(*_MISSING, errors.BadRequest)},
    )
    async def get(self, request: Request, job_id: str) -> HttpResponseBase:
        wanted = check_uuid(job_id, "job")
        wait = _number(request.query_params.get("wait"), "wait", least=1, most=MAX_WAIT, default=0)
        workspace_id = workspace_of(request)
        if wait:
            job = await sync_to_async(selectors.job)(workspace_id=workspace_id, job_id=wanted)
            if job.status not in TERMINAL:
                await streams.until_settled(job.id, seconds=wait)
        return await sync_to_async(_answer)(workspace_id, wanted)


def _answer(workspace_id: uuid.UUID, job_id: uuid.UUID) -> HttpResponse:
    """On a thread: a result may be large."""
    job = selectors.job(workspace_id=workspace_id, job_id=job_id)
    return json_response(serializers.full_body(job))


class JobStatusView(ApiView):
    @extend_schema(
        operation_id="get_job_status",
        summary="Poll a job",
        description="Only how far it is.",
        tags=_TAG,
        responses={200: serializers.JobProgressSerializer, **openapi.failures(*_MISSING)},
    )
    def get(self, request: Request, job_id: str) -> Response:
        return Response(serializers.status_body(_job(request, job_id)))


class JobResultView(ApiView):
    @extend_schema(
        operation_id="get_job_result",
        summary="Get a job's result",
        description="The `result` of a completed job, by itself. Of a batch or crawl that failed or was cancelled: the"
        " pages that were finished; of a task that failed: what was done so far. 409 `CONFLICT` while the job isn't"
        " over, and when it left no result.",
        tags=_TAG,
        responses={200: {"$ref": "#/components/schemas/JobResult"}, **openapi.failures(*_MISSING, errors.Conflict)},
    )
    def get(self, request: Request, job_id: str) -> Response:
        job = _job(request, job_id)
        if job.status not in TERMINAL:
            raise errors.Conflict(f"The job is {job.status}: its result is there once it is over.")
        result = results.of(job) if job.status == "completed" or job.progress_done else None
        if result is None:
            reason = f": {job.error_code}: {job.error_message}" if job.error_code else ""
            raise errors.Conflict(f"The job is {job.status} and left no result{reason}")
        return Response(result)


class JobCancelView(ApiView):
    @extend_schema(
        operation_id="cancel_job",
        summary="Cancel a job",
        description="What is queued is cancelled at once. What runs stops soon, and only what was finished is charged."
        " Asking again changes nothing.",
        tags=_TAG,
        request=None,
        responses={200: serializers.JobSerializer, **openapi.failures(*_MISSING, errors.JobTerminal)},
    )
    def post(self, request: Request, job_id: str) -> Response:
        completion.cancel(workspace_id=workspace_of(request), job_id=check_uuid(job_id, "job"))
        return Response(serializers.full_body(_job(request, job_id)))


class JobEventsView(AsyncApiView):
    @extend_schema(
        operation_id="list_job_events",
        summary="What happened to a job",
        description="Oldest first. With `Accept: text/event-stream` as server-sent events, live until the job is over:"
        " `id` is `seq`, `event` is `type`, `data` the event; resume with `Last-Event-ID`. 204 when there is nothing"
        " left to resume.",
        tags=_TAG,
        parameters=[
            OpenApiParameter("after", _SEQ, description="Only events with a greater `seq`."),
            OpenApiParameter("Last-Event-ID", _SEQ, OpenApiParameter.HEADER, description="The same, for streams."),
            openapi.PAGING[0],
        ],
        responses={
            (200, "application/json"): serializers.JobEventsSerializer,
            (200, "text/event-stream"): OpenApiResponse(response=str),
            204: None,
            **openapi.failures(*_MISSING, errors.BadRequest),
        },
    )
    async def get(self, request: Request, job_id: str) -> HttpResponseBase:
        after = _after(request)
        limit = CursorQuery.from_query(request.query_params).limit
        wanted = check_uuid(job_id, "job")
        job = await sync_to_async(selectors.job)(workspace_id=workspace_of(request), job_id=wanted)
        if "text/event-stream" in request.headers.get("Accept", ""):
            return _stream(job, after)
        found = await sync_to_async(selectors.events)(job_id=job.id, after=after, limit=limit + 1)
        return json_response(serializers.events_body(found[:limit], more=len(found) > limit))


def _stream(job: Job, after: int) -> HttpResponseBase:
    if job.status in TERMINAL and after >= job.last_seq:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)  # tells an EventSource not to come back
    return StreamingHttpResponse(
        streams.stream(job.id, after=after),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _job(request: Request, job_id: str) -> Job:
    return selectors.job(workspace_id=workspace_of(request), job_id=check_uuid(job_id, "job"))


def _after(request: Request) -> int:
    """`Last-Event-ID`, which a reconnecting EventSource adds to the URL it was given, goes before `after`."""
    query = request.query_params
    text = request.headers.get("Last-Event-ID") or query.get("after") or query.get("cursor")
    return _number(text, "after", least=0, most=2**31 - 1, default=0)


def _number(text: str | None, name: str, *, least: int, most: int, default: int) -> int:
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise errors.ValidationFailed({name: [f"must be a whole number from {least} to {most}"]})
    return int(text)


def _one_of(request: Request, name: str, values: list[str]) -> str | None:
    text = request.query_params.get(name)
    if text is not None and text not in values:
        raise errors.ValidationFailed({name: [f"must be one of {', '.join(values)}"]})
    return text
