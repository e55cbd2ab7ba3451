"""Authentication by an API key in `X-API-Key` or in `Authorization: Bearer`."""

from __future__ import annotations

import uuid

from django.http import HttpRequest
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from apps.accounts import selectors, services
from apps.accounts.selectors import Caller
from apps.core.errors import InvalidApiKey, Unauthorized

_CACHE_ATTRIBUTE = "_browsa_caller"


class ApiKeyAuthentication(BaseAuthentication):
    """Sets `request.auth` to the Caller. There is no anonymous access: a request without a key is refused."""

    def authenticate(self, request: Request) -> tuple[None, Caller]:
        return None, caller_of(request._request)


def caller_of(request: HttpRequest) -> Caller:
    """The caller, read from the database once per request (by `apps.accounts.admission`) and kept on the request, so
    that asynchronous views can call this too. Raises Unauthorized or InvalidApiKey.
    """
    caller: Caller | None = getattr(request, _CACHE_ATTRIBUTE, None)
    if caller is None:
        secret = presented_secret(request)
        if not secret:
            raise Unauthorized
        caller = selectors.caller(secret)
        if caller is None:
            raise InvalidApiKey
        services.record_use(caller=caller, now=timezone.now())
        setattr(request, _CACHE_ATTRIBUTE, caller)
    return caller


def presented_secret(request: HttpRequest) -> str:
    if from_header := request.headers.get("X-API-Key", "").strip():
        return from_header
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else ""


def workspace_of(request: Request) -> uuid.UUID:
    """The id of the workspace that the request's key belongs to."""
    caller = request.auth
    assert isinstance(caller, Caller)
    return caller.workspace_id


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The two ways of sending the key, for the OpenAPI document."""

    target_class = ApiKeyAuthentication
    name = ["ApiKey", "Bearer"]

    def get_security_definition(self, auto_schema: object) -> list[dict[str, str]]:
        return [
            {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "`agt_live_` and 32 hex."},
            {"type": "http", "scheme": "bearer", "description": "The same key, as a bearer token."},
        ]
