"""Mails the owners of a workspace when one of its webhooks was disabled automatically."""

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
    """Mails each notice once (twice if the process dies in between). After a mail error the next tick tries again.

    Returns how many were sent.
    """
    disabled = Endpoint.objects.filter(status=Endpoint.Status.DISABLED, notified_at=None).select_related("workspace")
    sent = 0
    for endpoint in disabled.order_by("disabled_at")[:_BATCH]:
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
        # Only the URL's origin: the rest is often a password.
        text = (
            f"The webhook {endpoint.id} of the workspace {endpoint.workspace.name}, which leads to"
            f" {urls.parse(endpoint.url).origin}, was disabled: {why}.\n\n"
            "Nothing is sent to it any more. When the receiver works again, enable it:\n\n"
            f'    PATCH /v1/webhooks/{endpoint.id}  {{"status": "active"}}\n\n'
            "Deliveries that were pending then continue. Events from the time in between are not sent.\n"
        )
        send_mail(f"Webhook disabled in {name}", text, None, addresses)
