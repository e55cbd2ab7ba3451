"""What calls that lead to a browser take: which page, from where, as whom."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from rest_framework import serializers

from apps.agents import identity
from apps.core.fields import StrictCharField, StrictChoiceField, checked_by
from apps.core.outgoing.urls import web_url


class WebUrlField(StrictCharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        return checked_by(web_url, super().to_internal_value(data))


class CountryField(StrictCharField):
    """In lower case. `of` fills it in where it is missing."""

    def __init__(self, **kwargs: Any) -> None:
        help_text = "ISO 3166-1 alpha-2, one that the operator has configured."
        super().__init__(required=False, **{"help_text": help_text, **kwargs})

    def to_internal_value(self, data: Any) -> str:
        country = super().to_internal_value(data).lower()
        if country not in settings.EGRESS_COUNTRIES:
            available = ", ".join(settings.EGRESS_COUNTRIES)
            raise serializers.ValidationError(f"is not available here; there are: {available}")
        return country

    @staticmethod
    def of(values: dict[str, Any]) -> str:
        return values.get("country") or settings.DEFAULT_COUNTRY


class OsTypeField(StrictChoiceField):
    """Empty: the default. `of` fills it in where it is missing."""

    def __init__(self, **kwargs: Any) -> None:
        help_text = "What it looks like. Empty: macOS."
        super().__init__(choices=[*identity.FAMILIES, ""], required=False, **{"help_text": help_text, **kwargs})

    @staticmethod
    def of(values: dict[str, Any]) -> str:
        return values.get("os_type") or identity.DEFAULT_OS_TYPE
