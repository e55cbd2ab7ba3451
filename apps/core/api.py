"""What every endpoint of the API is."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from django.http import HttpRequest
from rest_framework.views import APIView

from apps.core.errors import MethodNotAllowed


class Endpoint(APIView):
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
