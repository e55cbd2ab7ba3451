"""The base classes of all API views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.renderers import JSONRenderer
from rest_framework.views import APIView

from apps.core.errors import MethodNotAllowed


class ApiView(APIView):
    """`waiting_methods`: the methods that wait for a runner. They run on separate threads (`browsa.serving`)."""

    waiting_methods: ClassVar[frozenset[str]] = frozenset()

    @property
    def default_response_headers(self) -> dict[str, str]:
        return {}  # DRF would add `Allow` to every response

    @property
    def allowed_methods(self) -> list[str]:
        return [method for method in super().allowed_methods if method != "OPTIONS"]

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> NoReturn:
        raise MethodNotAllowed(headers={"Allow": ", ".join(self.allowed_methods)})


class AsyncApiView(ApiView):
    """A view whose handlers are coroutines: they wait on the event loop and occupy no thread.

    `apps.accounts.admission` has read the key on a thread; handlers run their queries on the API's threads
    (`sync_to_async`). They return Django responses; an exception becomes the error envelope.
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
            error = self.handle_exception(raised)
            headers = {name: value for name, value in error.items() if name != "Content-Type"}
            response = json_response(error.data, status=error.status_code, headers=headers)
        return response


def json_response(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """A rendered JSON response, with the same renderer as DRF's."""
    content = JSONRenderer().render(body)
    return HttpResponse(content, status=status, headers=dict(headers or {}), content_type="application/json")
