"""Jobs on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any, get_args

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.openapi import AGENT_ID_PATTERN
from apps.core.pagination import CursorPage
from apps.core.times import rfc3339, rfc3339_or_none
from apps.jobs import results
from apps.jobs.lifecycle import EventType
from apps.jobs.models import Job, JobEvent

# Which process ran a job is the operator's business.
EVENT_TYPES = get_args(EventType)
_PRIVATE = frozenset({"owner"})


# `apps.jobs.openapi` adds the components that these fields refer to.
@extend_schema_field({"anyOf": [{"$ref": "#/components/schemas/JobResult"}]})
class JobResultField(serializers.JSONField):
    """What a job gives: its shape depends on the kind."""


@extend_schema_field({"anyOf": [{"$ref": "#/components/schemas/InputRequest"}]})
class InputRequestField(serializers.JSONField):
    """A task's question to a human."""


class JobProgressSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=Job.Status.choices)
    kind = serializers.ChoiceField(choices=Job.Kind.choices)
    progress_done = serializers.IntegerField(help_text="Pages or steps finished.")
    progress_total = serializers.IntegerField(allow_null=True, help_text="Null where it is not known.")


class JobSerializer(JobProgressSerializer):
    framework = serializers.CharField(allow_null=True)
    step_count = serializers.IntegerField()
    credits_charged = serializers.IntegerField(help_text="0 until the job is over.")
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    completed_at = serializers.DateTimeField(allow_null=True, help_text="When it ended, however it did.")
    live_url = serializers.CharField(allow_null=True)
    agent_id = serializers.RegexField(AGENT_ID_PATTERN, allow_null=True)
    status_url = serializers.CharField()
    result_url = serializers.CharField()
    result = JobResultField(allow_null=True, help_text="On `completed`. In lists always null.")
    error_code = serializers.CharField(allow_null=True)
    error_message = serializers.CharField(allow_null=True)
    input_request = InputRequestField(allow_null=True)
    input_question = serializers.CharField(allow_null=True, help_text="The question of `input_request`.")
    request_id = serializers.CharField(allow_null=True, help_text="`X-Request-Id` of the call that created the job.")
    metadata = serializers.DictField(help_text="As it was sent.")


class AcceptedJobSerializer(JobSerializer):
    job_id = serializers.UUIDField(help_text="The same as `id`.")


class JobsSerializer(serializers.Serializer[Any]):
    jobs = JobSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True)


class JobEventSerializer(serializers.Serializer[Any]):
    seq = serializers.IntegerField(help_text="Counts up by one within the job.")
    type = serializers.ChoiceField(choices=EVENT_TYPES)
    data = serializers.DictField()  # type: ignore[assignment]  # Serializer.data, until the metaclass takes it
    created_at = serializers.DateTimeField()


class JobEventsSerializer(serializers.Serializer[Any]):
    events = JobEventSerializer(many=True)
    next_cursor = serializers.CharField(allow_null=True, help_text="For `after`; null when there is no more now.")


def job_body(job: Job, *, result: Any = None) -> dict[str, Any]:
    return {
        "id": str(job.id),
        "status": job.status,
        "kind": job.kind,
        "framework": job.framework or None,
        "step_count": job.step_count,
        "progress_done": job.progress_done,
        "progress_total": job.progress_total,
        "credits_charged": job.credits_charged,
        "created_at": rfc3339(job.created_at),
        "started_at": rfc3339_or_none(job.started_at),
        "completed_at": rfc3339_or_none(job.completed_at),
        "live_url": job.live_url or None,
        "agent_id": job.agent_id or None,
        "status_url": f"{settings.PUBLIC_URL}/v1/jobs/{job.id}/status",
        "result_url": results.url(job),
        "result": result,
        "error_code": job.error_code or None,
        "error_message": job.error_message or None,
        "input_request": job.input_request,
        "input_question": (job.input_request or {}).get("question"),
        "request_id": job.request_id or None,
        "metadata": job.metadata,
    }


def full_body(job: Job) -> dict[str, Any]:
    """With the result of a completed job, and what a failed task has done so far."""
    shown = job.status == Job.Status.COMPLETED or job.kind == Job.Kind.TASK
    return job_body(job, result=results.of(job) if shown else None)


def accepted_body(job: Job) -> dict[str, Any]:
    """Of a job that was just created: every 202."""
    return {**job_body(job), "job_id": str(job.id)}


def status_body(job: Job) -> dict[str, Any]:
    body = job_body(job)
    return {name: body[name] for name in ("id", "status", "kind", "progress_done", "progress_total")}


def jobs_body(page: CursorPage[Job]) -> dict[str, Any]:
    return {"jobs": [job_body(job) for job in page.rows], "next_cursor": page.next_cursor}


def event_body(event: JobEvent) -> dict[str, Any]:
    at = event.created_at.astimezone(UTC).isoformat(timespec="milliseconds")
    data = {name: value for name, value in event.data.items() if name not in _PRIVATE}
    return {"seq": event.seq, "type": event.type, "data": data, "created_at": at.replace("+00:00", "Z")}


def events_body(events: Sequence[JobEvent], *, more: bool) -> dict[str, Any]:
    cursor = str(events[-1].seq) if more else None
    return {"events": [event_body(event) for event in events], "next_cursor": cursor}
