"""Liveness, readiness, metrics and the OpenAPI document."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt  # else its 403 would hide the 405
from django.views.decorators.http import require_safe
from django.views.defaults import server_error as bug
from drf_spectacular import validation
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer
from jsonschema import Draft202012Validator
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from apps.core import database, errors, health, metrics, tracing
from apps.core.exception_handler import log_if_unreachable
from apps.core.middleware import error_response

_OPENAPI_SCHEMA = Path(validation.__file__).with_name("openapi_3_1_schema.json")


@csrf_exempt
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 while the process can answer."""
    return JsonResponse({"status": "ok"})


@csrf_exempt
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when agents can be provisioned; else 503 with the parts that do not work."""
    run_checks = health.run_checks()
    ready = all(verdict.ok for verdict in run_checks.values())
    checks = {name: {"ok": verdict.ok, **verdict.detail} for name, verdict in run_checks.items()}
    if ready:
        return JsonResponse({"status": "ready", "checks": checks})
    missing = ", ".join(name for name, verdict in run_checks.items() if not verdict.ok)
    body = errors.envelope(errors.NotReady(f"not ready: {missing}"), request_id=tracing.request_id())
    return JsonResponse({**body, "status": "not ready", "checks": checks}, status=errors.NotReady.status)


@csrf_exempt
@require_safe
def prometheus(request: HttpRequest) -> HttpResponse:
    """Metrics in Prometheus' text format; see `apps.core.metrics`."""
    return HttpResponse(generate_latest(metrics.registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


@csrf_exempt
@require_safe
def openapi_yaml(request: HttpRequest) -> HttpResponse:
    return HttpResponse(_document("yaml"), content_type="application/yaml")


@csrf_exempt
@require_safe
def openapi_json(request: HttpRequest) -> HttpResponse:
    return HttpResponse(_document("json"), content_type="application/json")


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Django's hook for exceptions outside of API views: in a middleware or on an HTML page."""
    raised = sys.exc_info()[1]
    if raised is None or not database.is_unreachable(raised):
        return bug(request)
    error = errors.DatabaseUnreachable()
    log_if_unreachable(error, raised)
    return error_response(error, tracing.request_id())


@functools.cache
def _document(form: str) -> bytes:
    """Generated once per process: the API does not change while it runs."""
    if form == "yaml":
        schema = json.loads(_document("json"))
        rendered: bytes = OpenApiYamlRenderer().render(schema, renderer_context={})  # type: ignore[no-untyped-call]
        return rendered
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    document = json.dumps(schema, indent=2).encode()
    # drf-spectacular's own `validate_schema` walks the schema again for each reference, which takes seconds.
    rules = json.loads(_OPENAPI_SCHEMA.read_text())
    registry = (DRAFT202012.create_resource(rules) @ Registry()).crawl()
    Draft202012Validator(rules, registry=registry).validate(json.loads(document))
    return document
