"""From a request's body to checked values."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from apps.core.errors import ValidationFailed


def checked(serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """The body's known fields. An explicit null counts as absent; no body counts as `{}`. Raises ValidationFailed."""
    data = request.data
    if not isinstance(data, dict):
        raise ValidationFailed({"body": ["must be a JSON object"]})
    bound = serializer(data={name: value for name, value in data.items() if value is not None})
    bound.is_valid(raise_exception=True)
    values: dict[str, Any] = bound.validated_data
    return values
