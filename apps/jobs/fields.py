"""A field that takes a JSON Schema: pages are extracted with one, tasks answer with one."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.fields import checked_by
from apps.jobs import json_schemas


@extend_schema_field({"type": "object", "additionalProperties": {}})
class JsonSchemaField(serializers.JSONField):
    def to_internal_value(self, data: Any) -> dict[str, Any]:
        schema = super().to_internal_value(data)
        if not isinstance(schema, dict):
            raise serializers.ValidationError("must be a JSON Schema: an object")
        checked_by(json_schemas.check, schema)
        return schema
