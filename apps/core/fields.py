"""Validation of request bodies: strict serializer fields, and `checked`.

A strict field accepts exactly its JSON type: `"5"` is not an integer, `1` is not a string, `true` is neither.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from rest_framework import serializers
from rest_framework.request import Request

from apps.core.errors import ValidationFailed
from apps.core.outgoing.urls import ForbiddenUrl

# The code of a field error that makes the whole answer URL_NOT_ALLOWED when no field has another error.
URL_NOT_ALLOWED = "url_not_allowed"

V = TypeVar("V")
R = TypeVar("R")


def checked_by(check: Callable[[V], R], value: V) -> R:
    """Returns `check(value)`. A ValueError becomes the error message of the field, a ForbiddenUrl with its own code."""
    try:
        return check(value)
    except ValueError as error:
        code = URL_NOT_ALLOWED if isinstance(error, ForbiddenUrl) else None
        raise serializers.ValidationError(str(error), code=code) from error


class StrictCharField(serializers.CharField):
    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("must be a string")
        return super().to_internal_value(data)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        # DRF converts values to text before validation, which would accept 0 and false as strings.
        if data is not serializers.empty and data is not None and not isinstance(data, str):
            raise serializers.ValidationError("must be a string")
        return super().run_validation(data)


class StrictIntegerField(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            raise serializers.ValidationError("must be an integer")
        return data


class StrictNumberField(serializers.FloatField):
    """A finite number."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, (int, float)) or not abs(data) <= sys.float_info.max:
            raise serializers.ValidationError("must be a number")
        return float(data)


class StrictChoiceField(serializers.ChoiceField):
    """Accepts exactly one of the choices, in the same spelling."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            raise serializers.ValidationError("must be a string")
        if data not in self.choices:
            allowed = ", ".join(repr(choice) for choice in self.choices)
            raise serializers.ValidationError(f"must be one of {allowed}")
        return data


class StrictListField(serializers.ListField):
    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list):
            raise serializers.ValidationError("must be a list")
        return super().to_internal_value(data)


class StrictBooleanField(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            raise serializers.ValidationError("must be true or false")
        return data


def checked(serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """The validated known fields of the body. null counts as absent, no body as `{}`. Raises ValidationFailed."""
    data = request.data
    if not isinstance(data, dict):
        raise ValidationFailed({"body": ["must be a JSON object"]})
    values: dict[str, Any] = _instance(serializer).run_validation(
        {name: value for name, value in data.items() if value is not None}
    )
    return values


@functools.cache
def _instance(serializer: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    """Made once: creating a serializer copies all its fields, and validation does not change it."""
    return serializer()
