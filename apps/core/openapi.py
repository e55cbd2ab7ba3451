"""Shared parts of the OpenAPI document: the error envelope, paging, rate limits, Idempotency-Key."""

from __future__ import annotations

from typing import Any, Literal

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from apps.core import errors, idempotency


class ErrorSerializer(serializers.Serializer[Any]):
    error = serializers.CharField(help_text="The error as a sentence.")
    code = serializers.CharField(help_text="The error as a code for programs.")
    request_id = serializers.CharField(help_text="Quote it to support. Also in the X-Request-Id header.")
    fields = serializers.DictField(  # type: ignore[assignment]  # Serializer.fields, until the metaclass takes it
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="On validation errors: the messages for each invalid field.",
    )


_COMMON_ERRORS: tuple[type[errors.ApiError], ...] = (errors.Unauthorized, errors.InvalidApiKey, errors.TooManyRequests)
_KEY_ERRORS: tuple[type[errors.ApiError], ...] = (errors.IdempotencyInProgress, errors.IdempotencyKeyReused)


def failures(*kinds: type[errors.ApiError]) -> dict[int, OpenApiResponse]:
    """The error responses of a call, together with those of every authenticated call."""
    named: dict[int, list[type[errors.ApiError]]] = {}
    for kind in dict.fromkeys((*_COMMON_ERRORS, *kinds)):
        named.setdefault(kind.status, []).append(kind)
    return {status: _response(group) for status, group in named.items()}


def _response(kinds: list[type[errors.ApiError]]) -> OpenApiResponse:
    examples = [
        OpenApiExample(
            kind.code,
            value={
                "error": (kind.__doc__ or "").strip().splitlines()[0],
                "code": kind.code,
                "request_id": "1d79bb6e-91f1-4f07-8b30-f6b1567977df",
            },
        )
        for kind in kinds
    ]
    description = " or ".join(f"`{kind.code}`" for kind in kinds)
    return OpenApiResponse(response=ErrorSerializer, description=description, examples=examples)


IDEMPOTENCY_KEY = OpenApiParameter(
    idempotency.HEADER,
    str,
    OpenApiParameter.HEADER,
    description="1 to 255 printable ASCII characters, new for each logical request. For 24 hours a repeat with the same"
    " body gets the first answer byte for byte, with `Idempotent-Replay: true`.",
)
_RATE_LIMIT_HEADERS = [
    OpenApiParameter(
        "RateLimit-Policy",
        str,
        OpenApiParameter.HEADER,
        response=True,
        description='The limit of this call: `"create";q=20;w=20` means 20 calls at once, refilled in 20 seconds.',
    ),
    OpenApiParameter(
        "RateLimit",
        str,
        OpenApiParameter.HEADER,
        response=True,
        description='The rest of the limit: `"create";r=19;t=1` means 19 calls now, and one more in 1 second.',
    ),
]


class Schema(AutoSchema):
    """Adds the effects of admission: rate limit headers to all calls, the key to calls that take it."""

    def get_override_parameters(self) -> list[Any]:
        return [*_RATE_LIMIT_HEADERS, *([IDEMPOTENCY_KEY] if self._keyed() else [])]

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        for kind in _KEY_ERRORS if self._keyed() else ():
            code = str(kind.status)
            body = self._get_response_for_code(_response([kind]), code)  # type: ignore[no-untyped-call]
            bodies[code] = _merge_responses(bodies[code], body) if code in bodies else body
        return bodies

    def _keyed(self) -> bool:
        return self.method == "POST" and idempotency.key_policy(type(self.view)) is not None


def _merge_responses(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Merges two responses with the same status."""
    examples = {
        **one["content"]["application/json"]["examples"],
        **other["content"]["application/json"]["examples"],
    }
    content = {"application/json": {**one["content"]["application/json"], "examples": examples}}
    return {**one, "description": f"{one['description']} or {other['description']}", "content": content}


PAGING = [
    OpenApiParameter("limit", int, description="1 to 200, default 50."),
    OpenApiParameter("cursor", str, description="The `next_cursor` of the previous page."),
]
