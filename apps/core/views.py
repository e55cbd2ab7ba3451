"""Liveness, readiness and the OpenAPI document."""

from __future__ import annotations

import functools
import json

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt  # else its 403 would hide the 405
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer
from drf_spectacular.validation import validate_schema

from apps.core import errors, health, request_ids


@csrf_exempt
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 while the process answers at all."""
    return JsonResponse({"status": "ok"})


@csrf_exempt
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when an agent could be provisioned now; else 503, and which part is missing."""
    verdicts = health.verdicts()
    ready = all(verdict.ok for verdict in verdicts.values())
    checks = {name: {"ok": verdict.ok, **verdict.detail} for name, verdict in verdicts.items()}
    if ready:
        return JsonResponse({"status": "ready", "checks": checks})
    missing = ", ".join(name for name, verdict in verdicts.items() if not verdict.ok)
    body = errors.envelope(errors.NotReady(f"not ready: {missing}"), request_id=request_ids.current())
    return JsonResponse({**body, "status": "not ready", "checks": checks}, status=errors.NotReady.status)


@csrf_exempt
@require_safe
def openapi_yaml(request: HttpRequest) -> HttpResponse:
    return HttpResponse(_document("yaml"), content_type="application/yaml")


@csrf_exempt
@require_safe
def openapi_json(request: HttpRequest) -> HttpResponse:
    return HttpResponse(_document("json"), content_type="application/json")


@functools.cache
def _document(form: str) -> bytes:
    """Made once for each process: the surface doesn't change while it runs."""
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    validate_schema(schema)  # type: ignore[no-untyped-call]
    if form == "json":
        return json.dumps(schema, indent=2).encode()
    rendered: bytes = OpenApiYamlRenderer().render(schema, renderer_context={})  # type: ignore[no-untyped-call]
    return rendered
