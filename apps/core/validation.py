"""From a request's body to checked values."""

from __future__ import annotations

import functools
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from apps.core.errors import ValidationFailed


def checked(serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """The body's known fields. An explicit null counts as absent; no body counts as `{}`. Raises ValidationFailed."""
    data = request.data
    if not isinstance(data, dict):
        raise ValidationFailed({"body": ["must be a JSON object"]})
    values: dict[str, Any] = _instance(serializer).run_validation(
        {name: value for name, value in data.items() if value is not None}
    )
    return values


@functools.cache
def _instance(serializer: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    """Made once: a serializer copies all of its fields when it is made, and validation leaves no trace in it."""
    return serializer()
