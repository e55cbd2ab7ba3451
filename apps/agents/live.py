"""The live view page of an agent. The capability in its URL grants access; there is no API key or session."""

from __future__ import annotations

import re
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt  # or a POST would get its 403 instead of a 405
from django.views.decorators.http import require_safe

from apps.agents import agent_urls, selectors
from apps.agents.models import Agent

_CAPABILITY = re.compile(r"[A-Za-z0-9]{1,64}-[0-9a-f]{32,128}")

# The URL of the page is a secret. It must not leak through a Referer or a cache. Other sites must not frame the page
# (clickjacking). Its script may only connect to the API and to the gateway.
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
    """200 while the agent runs, 410 after its end, 404 for an unknown capability."""
    agent = selectors.by_live_capability(capability=capability) if _CAPABILITY.fullmatch(capability) else None
    if agent is None:
        status = HTTPStatus.NOT_FOUND
    else:
        status = HTTPStatus.OK if agent.status == Agent.Status.RUNNING else HTTPStatus.GONE
    context: dict[str, object] = {"status": status.value}
    if agent is not None and status == HTTPStatus.OK:
        mode = "control" if agent.live_control == capability else "view"
        context |= {"mode": mode, "socket": agent_urls.live_socket_url(settings.PUBLIC_CDP_URL, capability)}
    # Only scheme, host and port: a CSP source with a path matches that path only.
    gateway = "/".join(settings.PUBLIC_CDP_URL.split("/")[:3])
    response = render(request, "agents/live.html", context, status=status)
    for name, value in _HEADERS.items():
        response[name] = value
    response["Content-Security-Policy"] = _POLICY.format(gateway=gateway)
    return response
