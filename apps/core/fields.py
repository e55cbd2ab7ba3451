"""Serializer fields that take exactly the JSON type they name: `"5"` is no integer, `1` is no string, `true`
is neither.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from rest_framework import serializers
from rest_framework.request import Request

from apps.core.errors import ValidationFailed

V = TypeVar("V")
R = TypeVar("R")


def checked_by(check: Callable[[V], R], value: V) -> R:
    """What `check` makes of the value; a ValueError of its says what is wrong with the field."""
    try:
        return check(value)
    except ValueError as error:
        raise serializers.ValidationError(str(error)) from error


class StrictCharField(serializers.CharField):
    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("must be a string")
        return super().to_internal_value(data)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        # DRF turns values into text before it looks at them; that would make 0 and false pass as strings.
        if data is not serializers.empty and data is not None and not isinstance(data, str):
            raise serializers.ValidationError("must be a string")
        return super().run_validation(data)


class StrictIntegerField(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            raise serializers.ValidationError("must be an integer")
        return data


class StrictChoiceField(serializers.ChoiceField):
    """One of a few words, spelled exactly so."""

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
    """Made once: creating a serializer copies all its fields, and validation does not change it."""
    return serializer()
