"""What every endpoint of the API is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.errors import MethodNotAllowed


class ApiView(APIView):
    """`waiting_methods` name the calls that wait for a runner: they run on threads of their own (`browsa.serving`)."""

    waiting_methods: ClassVar[frozenset[str]] = frozenset()

    @property
    def default_response_headers(self) -> dict[str, str]:
        return {}  # DRF's own would put `Allow` on every answer

    @property
    def allowed_methods(self) -> list[str]:
        return [method for method in super().allowed_methods if method != "OPTIONS"]

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> NoReturn:
        raise MethodNotAllowed(headers={"Allow": ", ".join(self.allowed_methods)})


class AsyncApiView(ApiView):
    """An endpoint whose handlers are coroutines and wait on the event loop, holding no thread.

    The key was read on a thread before (`apps.accounts.admission`); what handlers want of the database goes to the
    API's threads too (`sync_to_async`). They return Django responses; what they raise becomes the envelope.
    """

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        self.args, self.kwargs = args, kwargs
        self.request = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        try:
            self.initial(self.request, *args, **kwargs)
            known = (request.method or "").lower() in self.http_method_names
            handler = getattr(self, (request.method or "").lower(), None) if known else None
            if handler is None:
                self.http_method_not_allowed(request)
            response: HttpResponseBase = await handler(self.request, *args, **kwargs)
        except Exception as raised:
            response = _plain(self.handle_exception(raised))
        return response


def json_response(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """`body` as every endpoint writes JSON, rendered here and now."""
    content = JSONRenderer().render(body)
    return HttpResponse(content, status=status, headers=dict(headers or {}), content_type="application/json")


def _plain(response: Response) -> HttpResponse:
    headers = {name: value for name, value in response.items() if name != "Content-Type"}
    return json_response(response.data, status=response.status_code, headers=headers)
