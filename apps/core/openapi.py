"""What the views' OpenAPI descriptions share: the error envelope, and paging parameters."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from apps.core import errors


class ErrorSerializer(serializers.Serializer[Any]):
    error = serializers.CharField(help_text="What is wrong, in words.")
    code = serializers.CharField(help_text="What is wrong, for programs.")
    request_id = serializers.CharField(help_text="Quote it to support. Also in the X-Request-Id header.")
    fields = serializers.DictField(  # type: ignore[assignment]  # Serializer.fields, until the metaclass takes it
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="On validation errors: each bad field and what is wrong with it.",
    )


def failures(*kinds: type[errors.ApiError]) -> dict[int, OpenApiResponse]:
    """The error answers of a call, besides those that every authenticated call has."""
    named: dict[int, list[type[errors.ApiError]]] = {}
    always: tuple[type[errors.ApiError], ...] = (errors.Unauthorized, errors.InvalidApiKey)
    for kind in (*always, *kinds):
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


PAGING = [
    OpenApiParameter("limit", int, description="1 to 200, default 50."),
    OpenApiParameter("cursor", str, description="`next_cursor` of the page before."),
]
