"""`/v1/auto` on the wire: the fields of a scrape, and what says which way the call went."""

from __future__ import annotations

from typing import ClassVar

from rest_framework import serializers

from apps.core.fields import StrictCharField
from apps.jobs.pages.serializers import ScrapeOptionsSerializer, ScrapeResultSerializer
from apps.jobs.serializers import AcceptedJobSerializer
from apps.jobs.tasks.serializers import MAX_TASK_CHARS

TO_TASK, TO_SCRAPE = ["task"], ["scrape"]


class AutoSerializer(ScrapeOptionsSerializer):
    """A scrape ignores the fields of tasks; a task, which is checked as one, those of a scrape."""

    task = StrictCharField(max_length=MAX_TASK_CHARS, help_text="What to do, in plain English.")

    default_formats: ClassVar[tuple[str, ...]] = ("html", "text")


class RoutedJobSerializer(AcceptedJobSerializer):
    routed_via = serializers.ChoiceField(choices=TO_TASK)
    routing_reason = serializers.CharField()


class RoutedScrapeSerializer(ScrapeResultSerializer):
    routed_via = serializers.ChoiceField(choices=TO_SCRAPE)
    routing_reason = serializers.CharField()
