"""`/v1/keys` and `/v1/team`."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts import selectors, serializers, services
from apps.accounts.authentication import workspace_of
from apps.core import errors, openapi
from apps.core.api import ApiView
from apps.core.fields import checked
from apps.core.idempotency import takes_key
from apps.core.ids import check_uuid
from apps.core.pagination import CursorQuery


@takes_key(atomic=True)
class KeysView(ApiView):
    @extend_schema(
        operation_id="list_keys",
        summary="List API keys",
        tags=["API keys"],
        parameters=openapi.PAGING,
        responses={200: serializers.ApiKeysSerializer, **openapi.failures(errors.BadRequest)},
    )
    def get(self, request: Request) -> Response:
        page = selectors.keys(workspace_id=workspace_of(request), page=CursorQuery.from_query(request.query_params))
        return Response(serializers.keys_body(page))

    @extend_schema(
        operation_id="mint_key",
        summary="Mint an API key",
        tags=["API keys"],
        request=serializers.MintKeySerializer,
        responses={201: serializers.MintedKeySerializer, **openapi.failures(errors.BadRequest)},
    )
    def post(self, request: Request) -> Response:
        values = checked(serializers.MintKeySerializer, request)
        minted = services.mint_key(workspace_id=workspace_of(request), name=values["name"])
        return Response(serializers.minted_body(minted), status=201)


class KeyView(ApiView):
    @extend_schema(
        operation_id="revoke_key",
        summary="Revoke an API key",
        description="Takes effect with the next request. A key may revoke itself.",
        tags=["API keys"],
        responses={204: None, **openapi.failures(errors.InvalidId, errors.NotFound)},
    )
    def delete(self, request: Request, key_id: str) -> Response:
        services.revoke_key(workspace_id=workspace_of(request), key_id=check_uuid(key_id, "key"))
        return Response(status=204)


class TeamView(ApiView):
    @extend_schema(
        operation_id="list_team_members",
        summary="List the members of the workspace",
        description="Oldest first.",
        tags=["Team"],
        responses={200: serializers.TeamSerializer, **openapi.failures()},
    )
    def get(self, request: Request) -> Response:
        return Response(serializers.team_body(selectors.memberships(workspace_id=workspace_of(request))))
