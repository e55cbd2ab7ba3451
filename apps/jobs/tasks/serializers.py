"""Validates the requests of the tasks API. The validated body becomes the params of the job."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.agents.fields import (
    AgentIdField,
    CountryField,
    OsTypeField,
    OverridesSerializer,
    WebUrlField,
    overrides_of,
)
from apps.core.fields import (
    StrictBooleanField,
    StrictCharField,
    StrictChoiceField,
    StrictIntegerField,
    StrictListField,
    StrictNumberField,
    checked_by,
)
from apps.core.outgoing import urls
from apps.jobs.fields import JsonSchemaField
from apps.jobs.tasks.allowed_domains import MAX_DOMAINS, AllowedDomains, check_pattern
from apps.jobs.tasks.llm import names, prices
from apps.jobs.tasks.llm.names import ModelName
from apps.webhooks.serializers import ReceiverUrlField
from fingerprints import overrides

MAX_TASK_CHARS = 20_000
DEFAULT_STEPS, MAX_STEPS = 20, 100
DEFAULT_WALLCLOCK, MAX_WALLCLOCK = 900, 3600
MAX_COST_USD = 1_000_000
MAX_KEY = 500
FRAMEWORKS = ["browser-use"]
MAX_METADATA_BYTES = 16 * 1024


@extend_schema_field({"type": "object", "additionalProperties": {}})
class MetadataField(serializers.JSONField):
    """The caller's own object."""


class TaskSerializer(OverridesSerializer):
    task = StrictCharField(max_length=MAX_TASK_CHARS, help_text="The goal, in plain English.")
    llm = StrictCharField(
        default=names.DEFAULT,
        help_text="`anthropic:claude-haiku-4-5`, `openai:gpt-4.1-mini`, or a bare model name: `claude-…` is"
        " Anthropic's, any other OpenAI's.",
    )
    llm_api_key = StrictCharField(
        max_length=MAX_KEY,
        write_only=True,
        help_text="Your key for the model. Encrypted in memory until the task ends; never stored, logged or returned.",
    )
    llm_base_url = StrictCharField(
        required=False, help_text="The base URL of a provider or gateway with the same API as the provider in `llm`."
    )
    max_steps = StrictIntegerField(default=DEFAULT_STEPS, min_value=1, max_value=MAX_STEPS)
    max_cost_usd = StrictNumberField(
        required=False,
        max_value=MAX_COST_USD,
        help_text="Above 0. The task ends with `BUDGET_EXCEEDED` when the model's tokens have cost more, by the"
        " operator's price table. The price of the model must be known.",
    )
    wallclock_seconds = StrictIntegerField(
        default=DEFAULT_WALLCLOCK,
        min_value=1,
        max_value=MAX_WALLCLOCK,
        help_text="Counted from the start of the work. Time spent waiting for a human does not count.",
    )
    initial_url = WebUrlField(required=False, help_text="The page that the task starts on.")
    os_type = OsTypeField()
    country = CountryField()
    framework = StrictChoiceField(choices=FRAMEWORKS, default="browser-use", help_text="There is only this one.")
    agent_id = AgentIdField(
        required=False, max_length=24, help_text="Run in this agent, which keeps running after the task."
    )
    profile_id = StrictCharField(
        required=False, max_length=200, help_text="The agent's `profile_id`, instead of its `agent_id`."
    )
    allowed_domains = StrictListField(
        child=StrictCharField(max_length=300),
        default=list,
        max_length=MAX_DOMAINS,
        help_text="Pages of other hosts are blocked: `example.com` (and www.), `*.example.com`. Default: any host.",
    )
    output_schema = JsonSchemaField(
        required=False, help_text="A JSON Schema that the final answer must fit; `result.output` is that answer."
    )
    use_vision = StrictBooleanField(default=True, help_text="Show the model a screenshot of each page.")
    webhook_url = ReceiverUrlField(
        required=False,
        trim_whitespace=False,
        help_text="Receives this task's `job.completed` or `job.failed`, beside your webhooks, signed and repeated as"
        " they are.",
    )
    metadata = MetadataField(required=False, help_text="Any JSON object. It is returned with the job.")

    def validate_llm(self, value: str) -> str:
        return str(checked_by(ModelName.parse, value))

    def validate_llm_api_key(self, value: str) -> str:
        if not value.isascii() or not value.isprintable() or " " in value:
            raise serializers.ValidationError("must be printable ASCII without spaces")
        return value

    def validate_llm_base_url(self, value: str) -> str:
        checked_by(lambda text: urls.check(text, settings.ALLOW_ADDRESSES), value)
        return value.rstrip("/")

    def validate_max_cost_usd(self, value: float) -> float:
        if value <= 0:
            raise serializers.ValidationError("must be above 0")
        return value

    def validate_allowed_domains(self, value: list[str]) -> list[str]:
        return [checked_by(check_pattern, pattern) for pattern in value]

    def validate_metadata(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise serializers.ValidationError("must be an object")
        if len(json.dumps(value)) > MAX_METADATA_BYTES:
            raise serializers.ValidationError(f"may have {MAX_METADATA_BYTES} bytes at most")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        allowed = AllowedDomains.of(attrs["allowed_domains"])
        if not allowed.permits(attrs.get("initial_url", "")):
            raise serializers.ValidationError({"initial_url": ["is outside of allowed_domains"]})
        model = ModelName.parse(attrs["llm"])
        if "max_cost_usd" in attrs and prices.price_of(model, settings.MODEL_PRICES) is None:
            unknown = (
                f"can't be kept: the price of {model} is not known; the operator can add it to BROWSA_MODEL_PRICES"
            )
            raise serializers.ValidationError({"max_cost_usd": [unknown]})
        chosen = overrides_of(attrs)
        others = {name: value for name, value in attrs.items() if name not in overrides.CHECKS}
        more = {"overrides": chosen} if chosen else {}
        return {**others, **more, "country": CountryField.of(attrs), "os_type": OsTypeField.of(attrs)}


class RespondSerializer(serializers.Serializer[Any]):
    response = StrictCharField(max_length=10_000, help_text="The answer to the job's question.")
