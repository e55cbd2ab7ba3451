"""`/v1/auto`: a plain scrape where that is all there is to do, a task otherwise."""

from __future__ import annotations

from http import HTTPStatus

from asgiref.sync import sync_to_async
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request

from apps.accounts.authentication import workspace_of
from apps.core import errors, openapi
from apps.core.api import AsyncApiView, json_response
from apps.core.fields import checked
from apps.core.idempotency import takes_key
from apps.jobs.auto.router import route
from apps.jobs.auto.serializers import AutoSerializer, RoutedJobSerializer, RoutedScrapeSerializer
from apps.jobs.pages.sync_execution import read_page
from apps.jobs.pages.views import READING
from apps.jobs.serializers import accepted_body
from apps.jobs.tasks.views import begin


@takes_key(binds="job")
class AutoView(AsyncApiView):
    @extend_schema(
        operation_id="auto",
        summary="Let the platform choose",
        description="A task with one URL, a fetch verb (go to, visit, fetch, return, extract, read, navigate to, open)"
        " and nothing interactive is answered with a scrape, without a model. Any other is a task for an agent, which"
        " takes what `/v1/tasks` takes, `llm_api_key` included. `routed_via` and `routing_reason` say which it was,"
        " and why.",
        tags=["Quick calls"],
        request=AutoSerializer,
        responses={
            200: RoutedScrapeSerializer,
            202: RoutedJobSerializer,
            **openapi.failures(*READING, errors.NotFound, errors.AgentNotRunning),
        },
        examples=[
            OpenApiExample(
                "A plain fetch",
                value={"task": "Go to https://example.com and return the h1 text."},
                request_only=True,
            )
        ],
    )
    async def post(self, request: Request) -> HttpResponse:
        params = checked(AutoSerializer, request)
        chosen = route(params.pop("task"))
        routing = {"routed_via": chosen.via, "routing_reason": chosen.reason}
        if chosen.url is None:
            job = await sync_to_async(begin)(workspace_of(request), request)
            return json_response({**accepted_body(job), **routing}, status=HTTPStatus.ACCEPTED)
        params.update(url=chosen.url, routing=routing)
        body = await read_page(workspace_id=workspace_of(request), kind="scrape", params=params)
        return json_response(body)
