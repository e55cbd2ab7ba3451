"""The page that shows a running browser to whoever holds a link to it: no key, no session."""

from __future__ import annotations

import re
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt  # else its 403 would hide the 405
from django.views.decorators.http import require_safe

from apps.agents import agent_urls, selectors
from apps.agents.models import Agent

_CAPABILITY = re.compile(r"[A-Za-z0-9]{1,64}-[0-9a-f]{32,128}")

# The page holds a link that is a password: it must not leave in a Referer, nor stay in a cache, nor be framed by
# somebody else's page, where a visitor could be led to click. Its script may speak to us and to the gateway alone.
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self' {gateway}; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)


@csrf_exempt
@require_safe
def page(request: HttpRequest, capability: str) -> HttpResponse:
    """200 while the agent runs, 410 once it is over, 404 for what never was a link."""
    agent = selectors.by_live_capability(capability=capability) if _CAPABILITY.fullmatch(capability) else None
    if agent is None:
        status = HTTPStatus.NOT_FOUND
    else:
        status = HTTPStatus.OK if agent.status == Agent.Status.RUNNING else HTTPStatus.GONE
    context: dict[str, object] = {"status": status.value}
    if agent is not None and status == HTTPStatus.OK:
        mode = "control" if agent.live_control == capability else "view"
        context |= {"mode": mode, "socket": agent_urls.live_socket_url(settings.PUBLIC_CDP_URL, capability)}
    # Scheme, host and port: a policy's source with a path would have to match it exactly.
    gateway = "/".join(settings.PUBLIC_CDP_URL.split("/")[:3])
    response = render(request, "agents/live.html", context, status=status)
    for name, value in _HEADERS.items():
        response[name] = value
    response["Content-Security-Policy"] = _POLICY.format(gateway=gateway)
    return response
