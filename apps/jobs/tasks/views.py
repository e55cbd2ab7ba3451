"""`/v1/tasks`, the screenshots of steps, and the answers to tasks' questions."""

from __future__ import annotations

import re
import uuid
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.authentication import workspace_of
from apps.core import errors, openapi, tracing
from apps.core.api import ApiView
from apps.core.fields import checked
from apps.core.idempotency import takes_key
from apps.core.ids import check_uuid
from apps.jobs.models import Job
from apps.jobs.selectors import job
from apps.jobs.serializers import AcceptedJobSerializer, JobSerializer, accepted_body, full_body
from apps.jobs.tasks import selectors, services
from apps.jobs.tasks.serializers import RespondSerializer, TaskSerializer

_DESCRIPTION = """\
Leases a browser, in which an agent with your model works until the task is done. The answer is a job: wait for it,
follow its events (one `step` for each step, with a screenshot), watch it at `live_url`, or cancel it.

The price is 1 credit per 3 steps or part of them, browser included, and 1 more when its browser runs in a country
other than the default. The most that the task can cost is held until it ends. Completed steps are charged, unless the
task failed through our fault (`INTERNAL_ERROR`).

Ends as `completed` with `{final_result, success, trust_score, steps_taken, tokens, cost_usd, output?}`, or as `failed`
with one of `STALLED`, `LLM_ERROR`, `TIMEOUT`, `BUDGET_EXCEEDED`, `INSUFFICIENT_CREDIT`, `INVALID_API_KEY`,
`RATE_LIMIT`, `INTERNAL_ERROR`. It becomes `input_required` when the agent asks a human: see `/v1/jobs/{id}/respond`."""


@takes_key(binds="job")
class TasksView(ApiView):
    @extend_schema(
        operation_id="create_task",
        summary="Give an agent a task",
        description=_DESCRIPTION,
        tags=["Tasks"],
        request=TaskSerializer,
        responses={
            202: AcceptedJobSerializer,
            **openapi.failures(
                errors.BadRequest,
                errors.InsufficientCredit,
                errors.NotFound,
                errors.AgentNotRunning,
                errors.NotReady,
            ),
        },
        examples=[
            OpenApiExample(
                "A search",
                value={
                    "task": "On Amazon, search wireless earbuds under $50, return top 5 ASINs.",
                    "llm": "anthropic:claude-haiku-4-5",
                    "llm_api_key": "sk-ant-…",
                    "max_steps": 20,
                    "initial_url": "https://www.amazon.com",
                },
                request_only=True,
            )
        ],
    )
    def post(self, request: Request) -> Response:
        return Response(accepted_body(begin(workspace_of(request), request)), status=HTTPStatus.ACCEPTED)


def begin(workspace_id: uuid.UUID, request: Request) -> Job:
    """Creates the task that the request's body describes."""
    params: dict[str, Any] = checked(TaskSerializer, request)
    params.pop("framework")
    # The job keeps what describes the work. The rest is stored elsewhere.
    job = services.begin(
        workspace_id=workspace_id,
        key=params.pop("llm_api_key"),
        metadata=params.pop("metadata", None),
        profile_id=params.pop("profile_id", ""),
        webhook_url=params.pop("webhook_url", ""),
        params=params,
    )
    tracing.bind(job_id=job.id)
    return job


class StepScreenshotView(ApiView):
    @extend_schema(
        operation_id="get_step_screenshot",
        summary="Get a step's screenshot",
        description="A PNG of the page as the agent saw it before the step. It is deleted after some days.",
        tags=["Tasks"],
        responses={
            (200, "image/png"): OpenApiResponse(response=bytes),
            **openapi.failures(errors.InvalidId, errors.NotFound),
        },
    )
    def get(self, request: Request, job_id: str, step: str) -> HttpResponse:
        wanted = check_uuid(job_id, "job")
        if not re.fullmatch(r"[0-9]{1,5}", step):
            raise errors.NotFound("There is no such step.")
        png = selectors.screenshot(workspace_id=workspace_of(request), job_id=wanted, step=int(step))
        return HttpResponse(png, content_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


class JobRespondView(ApiView):
    @extend_schema(
        operation_id="respond_to_job",
        summary="Answer a job's question",
        description="Answers a job that is `input_required`, and continues it. `input_request` has the question and its"
        " expiry time. The answer is kept encrypted until the agent has read it.",
        tags=["Jobs"],
        request=RespondSerializer,
        responses={
            200: JobSerializer,
            **openapi.failures(errors.InvalidId, errors.NotFound, errors.BadRequest, errors.JobNotWaiting),
        },
    )
    def post(self, request: Request, job_id: str) -> Response:
        workspace_id, wanted = workspace_of(request), check_uuid(job_id, "job")
        job(workspace_id=workspace_id, job_id=wanted)  # another workspace gets 404, whatever the body
        values = checked(RespondSerializer, request)
        services.respond(workspace_id=workspace_id, job_id=wanted, response=values["response"])
        return Response(full_body(job(workspace_id=workspace_id, job_id=wanted)))
