"""The quick calls on the wire: what may be asked for, and the params of the job that it becomes."""

from __future__ import annotations

from typing import Any, ClassVar

from rest_framework import serializers

from apps.agents.fields import CountryField, OsTypeField, WebUrlField
from apps.core.fields import (
    StrictBooleanField,
    StrictCharField,
    StrictChoiceField,
    StrictIntegerField,
    StrictListField,
    checked_by,
)
from apps.core.openapi import AGENT_ID_PATTERN
from apps.jobs.fields import JsonSchemaField
from apps.jobs.pages.globs import MAX_PATTERNS, Glob
from apps.jobs.pages.loading import FORMATS

MAX_URLS = 500
MAX_PAGES = 500
MAX_DEPTH = 100
MAX_TIMEOUT_MS = 60_000
MAX_TEXT_CHARS = 1_000_000
MAX_PROMPT_CHARS = 20_000

MODES = ["scrape", "extract", "screenshot"]
WAIT_UNTIL = ["load", "domcontentloaded", "networkidle"]
BLOCKABLE = ["image", "media", "font", "stylesheet"]


class PageOptionsSerializer(serializers.Serializer[Any]):
    """What every call that reads pages takes."""

    country = CountryField()
    os_type = OsTypeField()
    max_chars = StrictIntegerField(
        default=100_000, min_value=1, max_value=MAX_TEXT_CHARS, help_text="Where `text` is cut."
    )
    wait_until = StrictChoiceField(choices=WAIT_UNTIL, default="load")
    wait_for = StrictCharField(
        required=False, max_length=1000, help_text="A CSS selector: the page is read once an element matches."
    )
    timeout_ms = StrictIntegerField(default=MAX_TIMEOUT_MS, min_value=1, max_value=MAX_TIMEOUT_MS)
    block_resources = StrictListField(
        child=StrictChoiceField(choices=BLOCKABLE), required=False, max_length=20, help_text="What is not loaded."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """The params of the job."""
        return {**attrs, "country": CountryField.of(attrs), "os_type": OsTypeField.of(attrs)}


class FormatsMixin(serializers.Serializer[Any]):
    formats = StrictListField(
        child=StrictCharField(allow_blank=True),
        required=False,
        max_length=50,
        help_text=f"Any of {', '.join(f'`{name}`' for name in FORMATS)}; unknown ones are ignored. Default: html.",
    )

    default_formats: ClassVar[tuple[str, ...]] = ("html",)

    def validate_formats(self, value: list[str]) -> list[str]:
        known = [name for name in FORMATS if name in value]
        if value and not known:
            unknown = ", ".join(repr(name[:40]) for name in value[:5])
            raise serializers.ValidationError(f"has no known format: {unknown}; there are: {', '.join(FORMATS)}")
        return known or list(self.default_formats)


class AsyncMixin(serializers.Serializer[Any]):
    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        waits = StrictBooleanField(default=False, help_text="Answer 202 with a job at once.")
        return {**super().get_fields(), "async": waits}  # a name that Python keeps for itself


def check_extraction(attrs: dict[str, Any]) -> None:
    """Raises ValidationError unless there is exactly one of `schema` and `prompt`."""
    if ("schema" in attrs) == ("prompt" in attrs):
        problem = "Send either schema or prompt" + (", not both." if "schema" in attrs else ".")
        raise serializers.ValidationError({"schema": [problem], "prompt": [problem]})


class ScrapeOptionsSerializer(FormatsMixin, PageOptionsSerializer):
    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs.setdefault("formats", list(self.default_formats))
        return super().validate(attrs)


class ScrapeSerializer(AsyncMixin, ScrapeOptionsSerializer):
    url = WebUrlField(help_text="http or https.")


class ExtractSerializer(AsyncMixin, PageOptionsSerializer):
    url = WebUrlField(help_text="http or https.")
    schema = JsonSchemaField(required=False, help_text="A JSON Schema. Either this or `prompt`.")
    prompt = StrictCharField(required=False, max_length=MAX_PROMPT_CHARS, help_text="What you are looking for.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        check_extraction(attrs)
        return super().validate(attrs)


class ScreenshotSerializer(AsyncMixin, PageOptionsSerializer):
    url = WebUrlField(help_text="http or https.")
    full_page = StrictBooleanField(
        default=True, help_text="The whole page, up to 16,384 pixels wide and high; false: what a window shows of it."
    )


class BatchSerializer(ScrapeOptionsSerializer):
    """`mode` chooses the call that each URL gets, with that call's options and rows; other options are ignored."""

    urls = StrictListField(
        child=WebUrlField(any_address=True), min_length=1, max_length=MAX_URLS, help_text="Results come in this order."
    )
    mode = StrictChoiceField(choices=MODES, default="scrape")
    schema = JsonSchemaField(required=False, help_text="For `extract`: either this or `prompt`.")
    prompt = StrictCharField(required=False, max_length=MAX_PROMPT_CHARS, help_text="For `extract`.")
    full_page = StrictBooleanField(default=True, help_text="For `screenshot`.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["mode"] == "extract":
            check_extraction(attrs)
        return super().validate(attrs)


class GlobField(StrictCharField):
    """Stays text: a job's params are JSON."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        checked_by(Glob.parse, text)
        return text


class CrawlSerializer(ScrapeOptionsSerializer):
    url = WebUrlField(help_text="Where it starts. `start_url` is another name of it.")
    max_pages = StrictIntegerField(
        default=10, min_value=1, max_value=MAX_PAGES, help_text="Pages visited at most, failed ones too."
    )
    max_depth = StrictIntegerField(default=2, min_value=0, max_value=MAX_DEPTH, help_text="Links from the start.")
    same_origin = StrictBooleanField(default=True, help_text="Stay on the start's scheme, host and port.")
    include = StrictListField(child=GlobField(), default=list, max_length=MAX_PATTERNS, help_text="Globs; see above.")
    exclude = StrictListField(child=GlobField(), default=list, max_length=MAX_PATTERNS, help_text="Stronger.")
    respect_robots = StrictBooleanField(default=True, help_text="Visit nothing that robots.txt forbids us.")

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and "url" not in data and "start_url" in data:
            data = {**data, "url": data["start_url"]}
        return super().to_internal_value(data)


class ScrapeResultSerializer(serializers.Serializer[Any]):
    url = serializers.CharField(help_text="Where the page ended up.")
    final_url = serializers.CharField(help_text="The same as `url`.")
    http_status = serializers.IntegerField()
    content_type = serializers.CharField(
        help_text="Of the document; for other than HTML, `html` and `text` are its source."
    )
    title = serializers.CharField(allow_blank=True)
    html = serializers.CharField(required=False)
    text = serializers.CharField(required=False)
    links = serializers.ListField(child=serializers.CharField(), required=False)
    screenshot_png_b64 = serializers.CharField(required=False)
    markdown = serializers.CharField(required=False)
    agent_id = serializers.RegexField(AGENT_ID_PATTERN)
    trust_score = serializers.IntegerField()
    cost_credits = serializers.IntegerField()
    duration_ms = serializers.IntegerField()


class ExtractResultSerializer(serializers.Serializer[Any]):
    url = serializers.CharField(help_text="Where the page ended up.")
    final_url = serializers.CharField(help_text="The same as `url`.")
    http_status = serializers.IntegerField()
    content_type = serializers.CharField(
        help_text="Of the document; for other than HTML, `html` and `text` are its source."
    )
    title = serializers.CharField(allow_blank=True)
    text = serializers.CharField(help_text="Clean: no empty lines, one space between words.")
    schema = serializers.DictField(allow_null=True, help_text="As it was sent; null beside a prompt.")
    prompt = serializers.CharField(required=False, help_text="As it was sent.")
    agent_id = serializers.RegexField(AGENT_ID_PATTERN)
    trust_score = serializers.IntegerField()
    cost_credits = serializers.IntegerField()
    duration_ms = serializers.IntegerField()


class ScreenshotResultSerializer(serializers.Serializer[Any]):
    url = serializers.CharField(help_text="Where the page ended up.")
    final_url = serializers.CharField(help_text="The same as `url`.")
    http_status = serializers.IntegerField()
    content_type = serializers.CharField(
        help_text="Of the document; for other than HTML, `html` and `text` are its source."
    )
    title = serializers.CharField(allow_blank=True)
    screenshot_png_b64 = serializers.CharField()
    agent_id = serializers.RegexField(AGENT_ID_PATTERN)
    trust_score = serializers.IntegerField()
    cost_credits = serializers.IntegerField()
    duration_ms = serializers.IntegerField()
