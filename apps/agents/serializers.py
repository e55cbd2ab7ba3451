"""Request and response bodies of the agents API."""

from __future__ import annotations

from typing import Any, get_args

from django.conf import settings
from rest_framework import serializers

from apps.agents import agent_urls, trust
from apps.agents.fields import (
    DEFAULT_TTL_SECONDS,
    CountryField,
    OsTypeField,
    OverridesSerializer,
    TtlField,
    TtlSecondsField,
    WebUrlField,
    check_ttl,
    overrides_of,
    parse_ttl,
)
from apps.agents.harness_signal import Signal
from apps.agents.identity import FAMILIES
from apps.agents.models import Agent, AgentFingerprint
from apps.agents.services.provisioning import ProvisionRequest
from apps.core.fields import StrictCharField, StrictChoiceField, checked_by
from apps.core.openapi import AGENT_ID_PATTERN, PROFILE_ID_PATTERN
from apps.core.pagination import CursorPage
from apps.core.times import from_unix, rfc3339, rfc3339_or_none
from runner.wire import Download, DownloadState

DOWNLOAD_STATES = list(get_args(DownloadState))
WARMUP_RECIPES = ["amazon", "google", "social"]
MAX_SEED = 64
TRUST_BANDS = list(get_args(trust.Band))


class CreateAgentSerializer(OverridesSerializer):
    """Every field is optional."""

    ttl = TtlField(required=False, help_text='The time to live: `"5m"` to `"1h"`. Default: 5 minutes.')
    ttl_seconds = TtlSecondsField(required=False, help_text="The same in seconds: 300 to 3600.")
    mode = StrictChoiceField(choices=Agent.Mode.choices, required=False, help_text="Default: burner.")
    initial_url = WebUrlField(required=False, help_text="The page that the agent opens: http or https.")
    country = CountryField()
    os_type = OsTypeField()
    persona = StrictCharField(required=False, allow_blank=True, max_length=200, help_text="Any label. Persistent mode.")
    warmup_recipe = StrictChoiceField(choices=[*WARMUP_RECIPES, ""], required=False, help_text="Persistent mode.")
    fingerprint_seed = StrictCharField(
        required=False,
        allow_blank=True,
        max_length=MAX_SEED,
        trim_whitespace=False,
        help_text="The same seed, OS and country draw the same fingerprint again. Default: a random one.",
    )

    def validate_ttl(self, value: str) -> int:
        return checked_by(parse_ttl, value)

    def validate_ttl_seconds(self, value: int) -> int:
        return checked_by(check_ttl, value)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        ttls = {attrs[name] for name in ("ttl", "ttl_seconds") if name in attrs}
        if len(ttls) > 1:
            raise serializers.ValidationError({"ttl": ["and ttl_seconds differ: send only one of them"]})
        # The specification: persistent if persona or warmup_recipe is set without a TTL, otherwise a burner.
        identity_fields = attrs.get("persona") or attrs.get("warmup_recipe")
        mode = attrs.get("mode") or (Agent.Mode.PERSISTENT if identity_fields and not ttls else Agent.Mode.BURNER)
        if mode == Agent.Mode.PERSISTENT:
            reason = "persistent agents are not available yet"
            if "mode" not in attrs:
                reason += ' (persona or warmup_recipe without a TTL asks for one; send "mode": "burner" otherwise)'
            elif ttls:
                reason = "a persistent agent has no TTL, and " + reason
            raise serializers.ValidationError({"mode": [reason]})
        return attrs


def provision_request(values: dict[str, Any]) -> ProvisionRequest:
    """The validated body, with its defaults."""
    return ProvisionRequest(
        ttl_seconds=values.get("ttl") or values.get("ttl_seconds") or DEFAULT_TTL_SECONDS,
        country=CountryField.of(values),
        os_type=OsTypeField.of(values),
        initial_url=values.get("initial_url", ""),
        persona=values.get("persona", ""),
        warmup_recipe=values.get("warmup_recipe", ""),
        fingerprint_seed=values.get("fingerprint_seed", ""),
        overrides=overrides_of(values),
    )


class AgentSerializer(serializers.Serializer[Any]):
    id = serializers.RegexField(AGENT_ID_PATTERN)
    status = serializers.ChoiceField(choices=Agent.Status.choices)
    mode = serializers.ChoiceField(choices=Agent.Mode.choices)
    cdp_url = serializers.CharField(allow_null=True, help_text="For Playwright, Puppeteer, browser-use or raw CDP.")
    cdp_http = serializers.CharField(
        allow_null=True, help_text="The base URL of /json/version and the other CDP HTTP endpoints."
    )
    live_url = serializers.CharField(allow_null=True, help_text="A page that shows its browser, view only.")
    profile_id = serializers.RegexField(PROFILE_ID_PATTERN, help_text="The same for the agent's whole life.")
    initial_url = serializers.CharField(allow_null=True)
    country = serializers.CharField()
    os_type = serializers.ChoiceField(choices=list(FAMILIES))
    persona = serializers.CharField(allow_null=True)
    warmup_recipe = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    destroyed_at = serializers.DateTimeField(allow_null=True)
    trust_score = serializers.IntegerField(
        min_value=0, max_value=1000, help_text="The sum of the inputs at `/v1/agents/{agent_id}/trust`."
    )
    cost_credits = serializers.IntegerField(
        help_text="The maximum cost while the agent is live; its actual cost after its end."
    )
    warnings = serializers.ListField(
        child=serializers.CharField(), help_text="What was chosen of the fingerprint and is not as asked."
    )
    error_code = serializers.CharField(allow_null=True)
    error_message = serializers.CharField(allow_null=True)


class AgentsSerializer(serializers.Serializer[Any]):
    agents = AgentSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class CdpUrlsSerializer(serializers.Serializer[Any]):
    cdp_url = serializers.CharField()
    cdp_http = serializers.CharField()
    profile_id = serializers.RegexField(PROFILE_ID_PATTERN)
    expires_at = serializers.DateTimeField()


class LiveUrlsSerializer(serializers.Serializer[Any]):
    live_url = serializers.CharField(help_text="Shows its browser.")
    control_url = serializers.CharField(help_text="The same, with mouse, keyboard and clipboard input. Keep it secret.")
    expires_at = serializers.DateTimeField(help_text="When the agent ends. Both links end with it.")


class KnobSerializer(serializers.Serializer[Any]):
    field = serializers.CharField(help_text="The field of the request to change for the next agent.")
    value = serializers.CharField()
    points = serializers.IntegerField(help_text="By how much the score changes.")


class TrustInputSerializer(serializers.Serializer[Any]):
    name = serializers.ChoiceField(choices=list(trust.INPUTS))
    label = serializers.CharField()  # type: ignore[assignment]  # DRF fields have a label too
    points = serializers.IntegerField()
    knob = KnobSerializer(allow_null=True)


class TrustSerializer(serializers.Serializer[Any]):
    trust_score = serializers.IntegerField(min_value=0, max_value=1000)
    band = serializers.ChoiceField(choices=TRUST_BANDS)
    inputs = TrustInputSerializer(many=True, help_text="Their points sum to the score.")


class ContradictionSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    realm = serializers.CharField(help_text="Where it was seen: a page, a frame, a worker, a header.")
    expected = serializers.JSONField(help_text="Any value.")
    seen = serializers.JSONField(help_text="Any value.")
    listed = serializers.BooleanField(help_text="A known exception, for which Chromium has no setting.")


class CoherenceSerializer(serializers.Serializer[Any]):
    contradictions = ContradictionSerializer(many=True)


class FingerprintSerializer(serializers.Serializer[Any]):
    """The document as the runner measured it. It may have more fields than these."""

    navigator = serializers.DictField()
    screen = serializers.DictField()
    webgl = serializers.DictField(allow_null=True)
    timezone = serializers.CharField()
    locale = serializers.CharField()
    canvas = serializers.DictField()
    audio = serializers.DictField()
    tls = serializers.DictField(allow_null=True, help_text="Null when the page made no TLS connection.")
    warnings = serializers.ListField(child=serializers.CharField())
    coherence = CoherenceSerializer()


class SiteVerdictSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    passed = serializers.BooleanField()
    checks = serializers.IntegerField(help_text="How many were made.")
    failed = serializers.ListField(child=serializers.CharField(), help_text="The checks that failed.")
    listed = serializers.ListField(child=serializers.CharField(), help_text="Known exceptions; they fail no site.")


class SignalSerializer(serializers.Serializer[Any]):
    pass_rate = serializers.FloatField(min_value=0, max_value=1)
    sites_tested = serializers.IntegerField()
    sites_passed = serializers.IntegerField()
    sites = SiteVerdictSerializer(many=True)
    measured_at = serializers.DateTimeField()


class DetectionSignalSerializer(serializers.Serializer[Any]):
    signal = SignalSerializer(allow_null=True)


def signal_body(signal: Signal | None) -> dict[str, Any]:
    if signal is None:
        return {"signal": None}
    sites = [{**site._asdict(), "passed": site.passed} for site in signal.sites]
    return {
        "signal": {
            "pass_rate": round(signal.pass_rate, 4),
            "sites_tested": len(signal.sites),
            "sites_passed": signal.sites_passed,
            "sites": sites,
            "measured_at": rfc3339_or_none(signal.measured_at),
        }
    }


def trust_body(inputs: list[dict[str, Any]]) -> dict[str, Any]:
    score = sum(one["points"] for one in inputs)
    return {"trust_score": score, "band": trust.band(score), "inputs": inputs}


def fingerprint_body(found: AgentFingerprint) -> dict[str, Any]:
    return {**found.document, "warnings": found.agent.warnings}


class DownloadSerializer(serializers.Serializer[Any]):
    id = serializers.CharField(help_text="Names the file where its name is not unique, or cannot be a part of a path.")
    name = serializers.CharField(help_text="As the page or the server suggests.")
    size = serializers.IntegerField(min_value=0, help_text="Bytes, so far.")
    state = serializers.ChoiceField(choices=DOWNLOAD_STATES)
    url = serializers.CharField(help_text="Where it came from, at most 2,048 characters.")
    created_at = serializers.DateTimeField()


class DownloadsSerializer(serializers.Serializer[Any]):
    downloads = DownloadSerializer(many=True)


def agent_body(agent: Agent) -> dict[str, Any]:
    cdp = None
    if agent.status == Agent.Status.RUNNING:
        cdp = agent_urls.cdp_urls(settings.PUBLIC_CDP_URL, profile=agent.profile, page_id=agent.page_id)
    return {
        "id": agent.id,
        "status": agent.status,
        "mode": agent.mode,
        "cdp_url": cdp and cdp.cdp_url,
        "cdp_http": cdp and cdp.cdp_http,
        "live_url": cdp and agent_urls.live_url(settings.PUBLIC_URL, agent.live_view),
        "profile_id": agent.profile_id,
        "initial_url": agent.initial_url or None,
        "country": agent.country,
        "os_type": agent.os_type,
        "persona": agent.persona or None,
        "warmup_recipe": agent.warmup_recipe or None,
        "created_at": rfc3339_or_none(agent.created_at),
        "expires_at": rfc3339_or_none(agent.expires_at),
        "destroyed_at": rfc3339_or_none(agent.destroyed_at),
        "trust_score": agent.trust_score,
        "cost_credits": agent.cost_credits,
        "warnings": agent.warnings,
        "error_code": agent.error_code or None,
        "error_message": agent.error_message or None,
    }


def agents_body(page: CursorPage[Agent]) -> dict[str, Any]:
    return {"agents": [agent_body(agent) for agent in page.rows], "next_cursor": page.next_cursor}


def cdp_body(agent: Agent) -> dict[str, Any]:
    body = agent_body(agent)
    return {name: body[name] for name in ("cdp_url", "cdp_http", "profile_id", "expires_at")}


def live_body(agent: Agent) -> dict[str, Any]:
    """For a running agent."""
    return {
        "live_url": agent_urls.live_url(settings.PUBLIC_URL, agent.live_view),
        "control_url": agent_urls.live_url(settings.PUBLIC_URL, agent.live_control),
        "expires_at": rfc3339_or_none(agent.expires_at),
    }


def downloads_body(downloads: list[Download]) -> dict[str, Any]:
    return {
        "downloads": [
            {
                "id": one.id,
                "name": one.name,
                "size": one.size,
                "state": one.state,
                "url": one.url,
                "created_at": rfc3339(from_unix(one.created_at)),
            }
            for one in downloads
        ]
    }
