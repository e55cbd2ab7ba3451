"""`/v1/credits`."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.authentication import workspace_of
from apps.billing import selectors, serializers
from apps.core import errors, openapi
from apps.core.api import Endpoint
from apps.core.pagination import PageRequest


class CreditsView(Endpoint):
    @extend_schema(
        operation_id="get_credits",
        summary="Balance and prices",
        tags=["Credits"],
        responses={200: serializers.CreditsSerializer, **openapi.failures()},
    )
    def get(self, request: Request) -> Response:
        account = selectors.account(workspace_id=workspace_of(request))
        return Response(serializers.credits_body(account, selectors.prices()))


class LedgerView(Endpoint):
    @extend_schema(
        operation_id="list_ledger_entries",
        summary="Ledger",
        description="What was spent, when and why, with the running balance. Newest first.",
        tags=["Credits"],
        parameters=openapi.PAGING,
        responses={200: serializers.LedgerSerializer, **openapi.failures(errors.BadRequest)},
    )
    def get(self, request: Request) -> Response:
        page = PageRequest.from_query(request.query_params)
        return Response(serializers.ledger_body(selectors.ledger(workspace_id=workspace_of(request), page=page)))
