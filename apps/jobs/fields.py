"""Fields of jobs that are small languages of their own."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.core.fields import StrictCharField, checked_by
from apps.jobs import json_schemas
from apps.jobs.pages.globs import Glob


class GlobField(StrictCharField):
    """Stays text: a job's params are JSON."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        checked_by(Glob.parse, text)
        return text


class JsonSchemaField(serializers.JSONField):
    def to_internal_value(self, data: Any) -> dict[str, Any]:
        schema = super().to_internal_value(data)
        if not isinstance(schema, dict):
            raise serializers.ValidationError("must be a JSON Schema: an object")
        checked_by(json_schemas.check, schema)
        return schema
