"""Tells the owners of a workspace that a webhook of theirs was disabled without their doing."""

from __future__ import annotations

import logging
from datetime import datetime
from smtplib import SMTPException

from django.core.mail import send_mail
from django.utils import timezone

from apps.accounts.models import Membership
from apps.core.outgoing import urls
from apps.webhooks.models import Endpoint

log = logging.getLogger(__name__)

_BATCH = 20


def notify(*, now: datetime | None = None) -> int:
    """Sends what is owed: once each, unless we die in between. What the mail server refuses is tried at the next tick.

    Returns how many were sent.
    """
    owed = Endpoint.objects.filter(status=Endpoint.Status.DISABLED, notified_at=None).select_related("workspace")
    sent = 0
    for endpoint in owed.order_by("disabled_at")[:_BATCH]:
        try:
            _send(endpoint)
        except (SMTPException, OSError) as error:
            log.warning("mail can't be sent", extra={"endpoint_id": endpoint.id, "cause": type(error).__name__})
            break
        Endpoint.objects.filter(id=endpoint.id).update(notified_at=now or timezone.now())
        sent += 1
    return sent


def _send(endpoint: Endpoint) -> None:
    owners = Membership.objects.filter(workspace=endpoint.workspace, role=Membership.Role.OWNER, user__is_active=True)
    addresses = sorted(owners.values_list("user__email", flat=True))
    if addresses:
        why = Endpoint.Reason(endpoint.disabled_reason).label
        name = " ".join(endpoint.workspace.name.split())  # a subject has one line
        send_mail(f"Webhook disabled in {name}", _text(endpoint, why), None, addresses)


def _text(endpoint: Endpoint, why: str) -> str:
    # Only where it leads: the rest of a URL is often a password.
    return (
        f"The webhook {endpoint.id} of the workspace {endpoint.workspace.name}, which leads to"
        f" {urls.parse(endpoint.url).origin}, was disabled: {why}.\n\n"
        "Nothing is sent to it any more. When the receiver works again, enable it:\n\n"
        f'    PATCH /v1/webhooks/{endpoint.id}  {{"status": "active"}}\n\n'
        "What was pending then goes on. Events from the meantime are not sent.\n"
    )
