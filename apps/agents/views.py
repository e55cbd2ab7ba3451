"""`/v1/agents`, and the endpoint for the runner's reports."""

from __future__ import annotations

import hmac
from http import HTTPStatus

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.authentication import workspace_of
from apps.agents import downloads, selectors, serializers
from apps.agents.control_client import runner_client
from apps.agents.models import Agent
from apps.agents.services import provisioning, sweeps, termination
from apps.core import errors, openapi
from apps.core.api import ApiView, AsyncApiView
from apps.core.fields import checked
from apps.core.idempotency import takes_key
from apps.core.ids import check_agent_id
from apps.core.pagination import CursorQuery
from runner.wire import Download

_TAG = ["Agents"]
_MISSING = (errors.InvalidId, errors.NotFound)


@takes_key(binds="agent")
class AgentsView(ApiView):
    waiting_methods = frozenset({"POST"})

    @extend_schema(
        operation_id="list_agents",
        summary="List agents",
        tags=_TAG,
        parameters=[
            OpenApiParameter("mode", str, enum=Agent.Mode.values),
            OpenApiParameter("include", str, enum=["quick"], description="Include the agents of quick pages."),
            *openapi.PAGING,
        ],
        responses={200: serializers.AgentsSerializer, **openapi.failures(errors.BadRequest)},
    )
    def get(self, request: Request) -> Response:
        mode, include = request.query_params.get("mode"), request.query_params.get("include")
        if mode is not None and mode not in Agent.Mode.values:
            raise errors.ValidationFailed({"mode": [f"must be one of {', '.join(Agent.Mode.values)}"]})
        if include not in (None, "", "quick"):
            raise errors.ValidationFailed({"include": ["must be quick"]})
        page = selectors.agents(
            workspace_id=workspace_of(request),
            mode=mode,
            page=CursorQuery.from_query(request.query_params),
            with_quick=include == "quick",
        )
        return Response(serializers.agents_body(page))

    @extend_schema(
        operation_id="create_agent",
        summary="Provision an agent",
        description="Leases a browser, and answers when clients can attach to it. The maximum cost is held.",
        tags=_TAG,
        request=serializers.CreateAgentSerializer,
        responses={
            201: serializers.AgentSerializer,
            **openapi.failures(
                errors.BadRequest,
                errors.InsufficientCredit,
                errors.AgentNotRunning,
                errors.TooManyRequests,
                errors.UpstreamUnavailable,
                errors.UpstreamTimeout,
            ),
        },
        examples=[
            OpenApiExample("A burner", value={"ttl": "10m", "initial_url": "https://example.com"}, request_only=True)
        ],
    )
    def post(self, request: Request) -> Response:
        agent = provisioning.provision(
            workspace_id=workspace_of(request),
            request=serializers.provision_request(checked(serializers.CreateAgentSerializer, request)),
            runner=runner_client(),
        )
        return Response(serializers.agent_body(agent), status=HTTPStatus.CREATED)


class AgentView(ApiView):
    waiting_methods = frozenset({"DELETE"})

    @extend_schema(
        operation_id="get_agent",
        summary="Get an agent",
        tags=_TAG,
        responses={200: serializers.AgentSerializer, **openapi.failures(*_MISSING)},
    )
    def get(self, request: Request, agent_id: str) -> Response:
        agent = selectors.agent(workspace_id=workspace_of(request), agent_id=check_agent_id(agent_id))
        return Response(serializers.agent_body(agent))

    @extend_schema(
        operation_id="destroy_agent",
        summary="Destroy an agent",
        description="Ends the agent and its billing. A repeated call changes nothing.",
        tags=_TAG,
        responses={204: None, **openapi.failures(*_MISSING)},
    )
    def delete(self, request: Request, agent_id: str) -> Response:
        wanted = check_agent_id(agent_id)
        termination.destroy(workspace_id=workspace_of(request), agent_id=wanted, runner=runner_client())
        return Response(status=HTTPStatus.NO_CONTENT)


class CdpView(ApiView):
    @extend_schema(
        operation_id="get_agent_cdp",
        summary="Get CDP URLs",
        tags=_TAG,
        responses={
            200: serializers.CdpUrlsSerializer,
            **openapi.failures(*_MISSING, errors.AgentNotRunning),
        },
    )
    def get(self, request: Request, agent_id: str) -> Response:
        agent = selectors.running_agent(workspace_id=workspace_of(request), agent_id=check_agent_id(agent_id))
        return Response(serializers.cdp_body(agent))


class LiveView(ApiView):
    @extend_schema(
        operation_id="get_agent_live",
        summary="Get live view links",
        description="Two pages that need no API key: one shows the browser, the other also controls it.",
        tags=_TAG,
        responses={
            200: serializers.LiveUrlsSerializer,
            **openapi.failures(*_MISSING, errors.AgentNotRunning),
        },
    )
    def get(self, request: Request, agent_id: str) -> Response:
        agent = selectors.running_agent(workspace_id=workspace_of(request), agent_id=check_agent_id(agent_id))
        return Response(serializers.live_body(agent))


class TrustView(ApiView):
    @extend_schema(
        operation_id="get_agent_trust",
        summary="Get the trust score's breakdown",
        description="The inputs of the score, when the agent was provisioned. `knob` says what raises the next one's.",
        tags=_TAG,
        responses={200: serializers.TrustSerializer, **openapi.failures(*_MISSING)},
    )
    def get(self, request: Request, agent_id: str) -> Response:
        agent = selectors.agent(workspace_id=workspace_of(request), agent_id=check_agent_id(agent_id))
        return Response(serializers.trust_body(selectors.trust_inputs(agent)))


class FingerprintView(ApiView):
    @extend_schema(
        operation_id="get_agent_fingerprint",
        summary="Get the measured fingerprint",
        description="What this very browser showed to the measuring page before its lease. Also after the agent's end.",
        tags=_TAG,
        responses={
            200: serializers.FingerprintSerializer,
            **openapi.failures(*_MISSING, errors.AgentNotRunning),
        },
    )
    def get(self, request: Request, agent_id: str) -> Response:
        found = selectors.fingerprint(workspace_id=workspace_of(request), agent_id=check_agent_id(agent_id))
        return Response(serializers.fingerprint_body(found))


class DetectionSignalView(ApiView):
    @extend_schema(
        operation_id="get_agent_detection_signal",
        summary="Get the detection harness' signal",
        description="The newest verdicts on the agent's OS type and country. Null when they are older than 7 days.",
        tags=_TAG,
        responses={200: serializers.DetectionSignalSerializer, **openapi.failures(*_MISSING)},
    )
    def get(self, request: Request, agent_id: str) -> Response:
        agent = selectors.agent(workspace_id=workspace_of(request), agent_id=check_agent_id(agent_id))
        return Response(serializers.signal_body(selectors.detection_signal(agent.os_type, agent.country)))


class DownloadsView(ApiView):
    waiting_methods = frozenset({"GET"})

    @extend_schema(
        operation_id="list_agent_downloads",
        summary="List downloads",
        description="The files that the agent's browser has downloaded, newest first, at most the last 1,000. They are"
        " deleted with the agent.",
        tags=_TAG,
        responses={
            200: serializers.DownloadsSerializer,
            **openapi.failures(*_MISSING, errors.AgentNotRunning, errors.UpstreamUnavailable),
        },
    )
    def get(self, request: Request, agent_id: str) -> Response:
        agent = selectors.running_agent(workspace_id=workspace_of(request), agent_id=check_agent_id(agent_id))
        return Response(serializers.downloads_body(_downloads(agent)))


class DownloadView(AsyncApiView):
    @extend_schema(
        operation_id="get_agent_download",
        summary="Get a downloaded file",
        description="The bytes of a file, by the `id` or the `name` of its download; of several with one name those of"
        " the newest complete one. 409 `CONFLICT` while it is not complete.",
        tags=_TAG,
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            **openapi.failures(*_MISSING, errors.AgentNotRunning, errors.Conflict, errors.UpstreamUnavailable),
        },
    )
    async def get(self, request: Request, agent_id: str, name: str) -> HttpResponseBase:
        agent, download = await sync_to_async(self._find)(request, check_agent_id(agent_id), name)
        content = await downloads.Content.open(agent.id, download)
        return StreamingHttpResponse(
            content,
            content_type="application/octet-stream",
            headers={
                "Content-Length": str(content.size),
                "Content-Disposition": content_disposition_header(True, downloads.file_name(download)),
                "Content-Security-Policy": "sandbox; default-src 'none'",
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "no-store",
            },
        )

    def _find(self, request: Request, agent_id: str, name: str) -> tuple[Agent, Download]:
        agent = selectors.running_agent(workspace_id=workspace_of(request), agent_id=agent_id)
        return agent, downloads.pick(_downloads(agent), name)


def _downloads(agent: Agent) -> list[Download]:
    """Raises AgentNotRunning when its browser has just ended."""
    found = runner_client().downloads(agent.id)
    if found is None:
        raise errors.AgentNotRunning("The agent is not running: its downloads are gone.")
    return found


@takes_key(atomic=True)
class SessionsView(ApiView):
    @extend_schema(
        operation_id="open_session",
        summary="Open a session on a persistent identity",
        description="Not available yet.",
        tags=_TAG,
        request=None,
        responses={**openapi.failures(*_MISSING, errors.BadRequest)},
    )
    def post(self, request: Request, agent_id: str) -> Response:
        agent = selectors.agent(workspace_id=workspace_of(request), agent_id=check_agent_id(agent_id))
        raise errors.BadRequest(f"Sessions are for persistent agents; this is a {agent.mode}.")


@csrf_exempt
@require_POST
def runner_report(request: HttpRequest) -> HttpResponse:
    """Receives the reports of runners about ended leases (`runner.wire`). Not part of the public API."""
    presented = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
    expected = settings.RUNNER_TOKEN.encode()
    if not expected or not hmac.compare_digest(presented, expected):
        return HttpResponse(status=HTTPStatus.UNAUTHORIZED)
    report = sweeps.parse_report(request.body)
    if report is None:
        return HttpResponse(status=HTTPStatus.BAD_REQUEST)
    sweeps.apply_report(report=report)
    return HttpResponse(status=HTTPStatus.NO_CONTENT)
