"""Shared parts of the OpenAPI document: the error envelope, paging, parameters, response headers.

`Schema` describes one operation. What it refers to by name is in `apps.core.openapi_components`.
"""

from __future__ import annotations

from typing import Any, Literal

import uritemplate
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from apps.core import errors, idempotency
from apps.core.pagination import DEFAULT_LIMIT, MAX_LIMIT

AGENT_ID_PATTERN = "^agt_[0-9a-f]{20}$"
PROFILE_ID_PATTERN = "^prf_[0-9a-f]{20}$"
EVENT_ID_PATTERN = "^evt_[0-9a-f]{32}$"
UUID_PATTERN = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"

PROFILE_ID: dict[str, Any] = {"type": "string", "pattern": PROFILE_ID_PATTERN}
AGENT_ID: dict[str, Any] = {"type": "string", "pattern": AGENT_ID_PATTERN, "examples": ["agt_aabbccddeeff00112233"]}
WEB_URL: dict[str, Any] = {"type": "string", "pattern": "^https?://", "maxLength": 2048}
UUID: dict[str, Any] = {"type": "string", "format": "uuid", "pattern": UUID_PATTERN}


class ApiErrorSerializer(serializers.Serializer[Any]):
    error = serializers.CharField(help_text="The error as a sentence.")
    code = serializers.CharField(help_text="The error as a code for programs.")
    request_id = serializers.CharField(help_text="Quote it to support. Also in the X-Request-Id header.")
    fields = serializers.DictField(  # type: ignore[assignment]  # Serializer.fields, until the metaclass takes it
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="On validation errors: the messages for each invalid field.",
    )


_KEY_ERRORS: tuple[type[errors.ApiError], ...] = (errors.IdempotencyInProgress, errors.IdempotencyKeyReused)

# Responses that are the same for every operation: components, by status.
SHARED_RESPONSES = {
    "401": "Unauthorized",
    "413": "PayloadTooLarge",
    "415": "UnsupportedMediaType",
    "429": "TooManyRequests",
    "500": "InternalError",
    "503": "ServiceUnavailable",
}
# The response of these statuses is never stored under an Idempotency-Key.
_NEVER_REPLAYED = {"400", "401", "402", "413", "415", "422", "429"}
_RETRIED = {"409", "429", "503"}


def failures(*kinds: type[errors.ApiError]) -> dict[int, OpenApiResponse]:
    """The error responses of a call. `Schema` adds those that every call can have."""
    named: dict[int, list[type[errors.ApiError]]] = {}
    unavailable = (errors.NotReady, errors.DatabaseUnreachable)  # each 503 can mean these too
    for kind in dict.fromkeys(kinds):
        if kind.status == errors.NotReady.status:
            named.setdefault(kind.status, [*unavailable])
        if kind not in named.setdefault(kind.status, []):
            named[kind.status].append(kind)
    return {status: error_response(group) for status, group in named.items()}


def error_response(kinds: list[type[errors.ApiError]]) -> OpenApiResponse:
    examples = [OpenApiExample(kind.code, value=example(kind)) for kind in kinds]
    description = " or ".join(f"`{kind.code}`" for kind in kinds)
    return OpenApiResponse(response=ApiErrorSerializer, description=description, examples=examples)


def example(kind: type[errors.ApiError]) -> dict[str, str]:
    return {
        "error": (kind.__doc__ or "").strip().splitlines()[0],
        "code": kind.code,
        "request_id": "1d79bb6e-91f1-4f07-8b30-f6b1567977df",
    }


def _in_path(name: str, schema: dict[str, Any], description: str) -> OpenApiParameter:
    return OpenApiParameter(name, schema, OpenApiParameter.PATH, description=description)


_PATH_PARAMETERS = {
    parameter.name: parameter
    for parameter in (
        _in_path("agent_id", AGENT_ID, "The agent's `id`."),
        _in_path("name", {"type": "string", "pattern": "^[^/]+$"}, "The download's `id` or `name`, percent-encoded."),
        _in_path("job_id", UUID, "The job's `id`."),
        _in_path("webhook_id", UUID, "The webhook's `id`."),
        _in_path("delivery_id", UUID, "The delivery's `id`."),
        _in_path("checkout_id", UUID, "The checkout's `id`."),
        _in_path("key_id", UUID, "The key's `id`."),
        _in_path("step", {"type": "integer", "minimum": 0, "maximum": 99_999}, "The step's number, from 1."),
    )
}
IDEMPOTENCY_KEY = OpenApiParameter(
    idempotency.HEADER,
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    OpenApiParameter.HEADER,
    description="1 to 255 printable ASCII characters, new for each logical request. For 24 hours a repeat with the same"
    " body gets the first answer byte for byte, with `Idempotent-Replay: true`.",
)
PAGING = [
    OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        description="The number of rows.",
    ),
    OpenApiParameter("cursor", str, description="The `next_cursor` of the previous page."),
]


class Schema(AutoSchema):
    """Adds what middleware and admission do: the shared error responses, the response headers, the Idempotency-Key."""

    def get_auth(self) -> list[dict[str, list[str]]]:
        """Either scheme is enough: one requirement for each, where drf-spectacular would demand both."""
        return [{name: []} for requirement in super().get_auth() for name in requirement]

    def get_description(self) -> str:  # type: ignore[override]  # AutoSchema drops the parameters of DRF's
        return ""  # of a call without one: else the view's docstring, which is for its readers

    def get_override_parameters(self) -> list[Any]:
        path = [_PATH_PARAMETERS[name] for name in uritemplate.variables(self.path)]
        return [*path, *([IDEMPOTENCY_KEY] if self._keyed() else [])]

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        for kind in _KEY_ERRORS if self._keyed() else ():
            code = str(kind.status)
            body = self._get_response_for_code(error_response([kind]), code)  # type: ignore[no-untyped-call]
            bodies[code] = _merge_responses(bodies[code], body) if code in bodies else body
        impossible = set()
        if self.method not in ("POST", "PATCH"):
            impossible = {"413", "415"}
        elif not self.get_request_serializer():
            impossible = {"415"}
        for code, name in SHARED_RESPONSES.items():
            if code not in bodies and code not in impossible:
                bodies[code] = {"$ref": f"#/components/responses/{name}"}
        return dict(sorted(bodies.items()))

    def _get_response_headers_for_code(
        self, status_code: str, direction: Literal["request", "response"] = "response"
    ) -> dict[str, Any]:
        names = ["X-Request-Id", "RateLimit-Policy", "RateLimit"]
        if status_code in _RETRIED:
            names.append("Retry-After")
        if self._keyed() and status_code not in _NEVER_REPLAYED:
            names.append(idempotency.REPLAY_HEADER)
        return headers(*names)

    def _keyed(self) -> bool:
        return self.method == "POST" and idempotency.key_policy(type(self.view)) is not None


def headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _merge_responses(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Merges two responses with the same status."""
    examples = {
        **one["content"]["application/json"]["examples"],
        **other["content"]["application/json"]["examples"],
    }
    content = {"application/json": {**one["content"]["application/json"], "examples": examples}}
    return {**one, "description": f"{one['description']} or {other['description']}", "content": content}
