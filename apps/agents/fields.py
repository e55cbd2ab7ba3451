"""Request fields that several calls share: URL, country, OS and TTL of a browser."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.agents import identity
from apps.core import openapi
from apps.core.fields import StrictCharField, StrictChoiceField, StrictIntegerField, checked_by
from apps.core.outgoing.urls import browser_url, web_url
from fingerprints import overrides

WEBRTC_MODES = list(overrides.CHOICES["webrtc_mode"])
GEOLOCATION_MODES = list(overrides.CHOICES["geolocation_mode"])
MASKINGS = list(overrides.CHOICES["media_devices_mode"])

MIN_TTL_SECONDS = 300
MAX_TTL_SECONDS = 3600
DEFAULT_TTL_SECONDS = 300

_UNITS = {"s": 1, "m": 60, "h": 3600}


@extend_schema_field(openapi.WEB_URL)
class WebUrlField(StrictCharField):
    """A URL for a browser. `any_address`: also one that leads inside, because its refusal is a result of its own."""

    def __init__(self, *, any_address: bool = False, **kwargs: Any) -> None:
        self._any_address = any_address
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if self._any_address:
            return checked_by(web_url, text)
        return checked_by(lambda url: browser_url(url, settings.ALLOW_ADDRESSES), text)


@extend_schema_field({"type": "string", "pattern": "^[A-Za-z]{2}$"})
class CountryField(StrictCharField):
    """A country in lower case. `of` returns the default when the field is missing."""

    def __init__(self, **kwargs: Any) -> None:
        help_text = "ISO 3166-1 alpha-2. One of the countries that the operator has configured."
        super().__init__(required=False, **{"help_text": help_text, **kwargs})

    def to_internal_value(self, data: Any) -> str:
        country = super().to_internal_value(data).lower()
        if country not in settings.EGRESS_COUNTRIES:
            available = ", ".join(settings.EGRESS_COUNTRIES)
            raise serializers.ValidationError(f"is not available; available countries: {available}")
        return country

    @staticmethod
    def of(values: dict[str, Any]) -> str:
        return values.get("country") or settings.DEFAULT_COUNTRY


class OsTypeField(StrictChoiceField):
    """An OS type; empty is the default. `of` returns the default when the field is missing."""

    def __init__(self, **kwargs: Any) -> None:
        help_text = "The operating system that the browser shows. Empty: macOS."
        super().__init__(choices=[*identity.FAMILIES, ""], required=False, **{"help_text": help_text, **kwargs})

    @staticmethod
    def of(values: dict[str, Any]) -> str:
        return values.get("os_type") or identity.DEFAULT_OS_TYPE


@extend_schema_field({"type": "string", "pattern": "^[0-9]{1,9}[smh]$", "examples": ["5m", "1h"]})
class TtlField(StrictCharField):
    """A duration as text: see `parse_ttl`."""


@extend_schema_field({"type": "integer", "minimum": MIN_TTL_SECONDS, "maximum": MAX_TTL_SECONDS})
class TtlSecondsField(StrictIntegerField):
    """A duration in seconds: see `check_ttl`."""


@extend_schema_field(openapi.AGENT_ID)
class AgentIdField(StrictCharField):
    """The id of an agent; its service checks it."""


def parse_ttl(text: str) -> int:
    """Seconds of `"300s"`, `"5m"` or `"1h"`. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,9})([smh])", text)
    if found is None:
        raise ValueError('must be a number and s, m or h, like "300s", "5m" or "1h"')
    return check_ttl(int(found[1]) * _UNITS[found[2]])


def check_ttl(seconds: int) -> int:
    """Raises ValueError when out of range."""
    if not MIN_TTL_SECONDS <= seconds <= MAX_TTL_SECONDS:
        raise ValueError(f"must be from {MIN_TTL_SECONDS} seconds (5m) to {MAX_TTL_SECONDS} seconds (1h)")
    return seconds


class OverridesSerializer(serializers.Serializer[Any]):
    """What a caller may choose of the fingerprint. Empty: as drawn. `overrides_of` collects what was chosen."""

    screen_resolution = StrictCharField(
        required=False,
        allow_blank=True,
        help_text="`WIDTHxHEIGHT` in CSS pixels, like `1920x1080`; or `mobile-iphone`, `mobile-android-pixel`.",
    )
    webrtc_mode = StrictChoiceField(
        choices=[*WEBRTC_MODES, ""], required=False, help_text="Default: `masked`. No mode shows an address."
    )
    geolocation_mode = StrictChoiceField(
        choices=[*GEOLOCATION_MODES, ""],
        required=False,
        help_text="What happens when a page asks for the position. Default: `prompt`.",
    )
    geolocation_data = StrictCharField(
        required=False, allow_blank=True, help_text="The position, as `latitude,longitude`. Default: in the country."
    )
    media_devices_mode = StrictChoiceField(
        choices=[*MASKINGS, ""],
        required=False,
        help_text="Default: `masked`, a camera, a microphone and a speaker as most computers have them.",
    )
    port_scan_protection = StrictChoiceField(
        choices=[*MASKINGS, ""],
        required=False,
        help_text="Default: `masked`. Pages never reach ports of the server.",
    )
    ja3_profile = StrictCharField(
        required=False,
        allow_blank=True,
        max_length=overrides.MAX_PROFILE,
        help_text="Not applied: the TLS handshake is always Chromium's own. Gives a warning.",
    )

    def validate_screen_resolution(self, value: str) -> str:
        return _well_formed("screen_resolution", value)

    def validate_geolocation_data(self, value: str) -> str:
        return _well_formed("geolocation_data", value)


def _well_formed(name: str, value: str) -> str:
    if value:
        checked_by(overrides.CHECKS[name], value)
    return value


def overrides_of(values: dict[str, Any]) -> dict[str, str]:
    """What of a validated body was chosen."""
    return {name: values[name] for name in overrides.CHECKS if values.get(name)}
