"""`/v1/credits`, and the webhook for Stripe's events."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.authentication import workspace_of
from apps.billing import offers, selectors, serializers, stripe_api, stripe_facts
from apps.billing.services import checkouts, payments
from apps.core import errors, openapi
from apps.core.api import ApiView
from apps.core.fields import checked
from apps.core.idempotency import takes_key
from apps.core.ids import check_uuid
from apps.core.pagination import CursorQuery


class CreditsView(ApiView):
    @extend_schema(
        operation_id="get_credits",
        summary="Balance and prices",
        tags=["Credits"],
        responses={200: serializers.CreditsSerializer, **openapi.failures()},
    )
    def get(self, request: Request) -> Response:
        account = selectors.account(workspace_id=workspace_of(request))
        return Response(serializers.credits_body(account, selectors.prices()))


class LedgerView(ApiView):
    @extend_schema(
        operation_id="list_ledger_entries",
        summary="Ledger",
        description="Every change of the credits, with its reason and the balance after it. Newest first.",
        tags=["Credits"],
        parameters=openapi.PAGING,
        responses={200: serializers.LedgerSerializer, **openapi.failures(errors.BadRequest)},
    )
    def get(self, request: Request) -> Response:
        workspace_id, page = workspace_of(request), CursorQuery.from_query(request.query_params)
        entries = selectors.ledger(workspace_id=workspace_id, page=page)
        balance = selectors.account(workspace_id=workspace_id).balance
        return Response(serializers.ledger_body(entries, balance=balance))


@takes_key(binds="checkout")
class CheckoutsView(ApiView):
    waiting_methods = frozenset({"POST"})

    @extend_schema(
        operation_id="get_offers",
        summary="Prices of credits",
        tags=["Credits"],
        responses={200: serializers.OffersSerializer, **openapi.failures()},
    )
    def get(self, request: Request) -> Response:
        return Response(
            serializers.offers_body(
                currency=settings.CREDIT_CURRENCY, price=settings.CREDIT_PRICE, packs=settings.CREDIT_PACKS
            )
        )

    @extend_schema(
        operation_id="start_checkout",
        summary="Buy credits",
        description="Returns the URL of a payment page at Stripe. The credits are added after the payment.",
        tags=["Credits"],
        request=serializers.StartCheckoutSerializer,
        responses={
            201: serializers.CheckoutSerializer,
            **openapi.failures(errors.BadRequest, errors.NotConfigured, errors.UpstreamUnavailable),
        },
    )
    def post(self, request: Request) -> Response:
        values = checked(serializers.StartCheckoutSerializer, request)
        stripe = stripe_api.configured()
        checkout = checkouts.begin(
            workspace_id=workspace_of(request),
            offer=_offer(values),
            success_url=values.get("success_url", f"{settings.PUBLIC_URL}/checkout/paid"),
            cancel_url=values.get("cancel_url", f"{settings.PUBLIC_URL}/checkout/cancelled"),
            stripe=stripe,
        )
        return Response(serializers.checkout_body(checkout), status=201)


def _offer(values: dict[str, Any]) -> offers.Offer:
    if "pack" in values:
        pack: offers.Offer | None = settings.CREDIT_PACKS.get(values["pack"])
        if pack is None:
            raise errors.ValidationFailed({"pack": [f"must be one of: {', '.join(settings.CREDIT_PACKS) or 'none'}"]})
        return pack
    try:
        return offers.offer_for(values["credits"], price=settings.CREDIT_PRICE)
    except ValueError as error:
        raise errors.ValidationFailed({"credits": [str(error)]}) from error


class CheckoutView(ApiView):
    @extend_schema(
        operation_id="get_checkout",
        summary="Get a checkout",
        tags=["Credits"],
        responses={200: serializers.CheckoutSerializer, **openapi.failures(errors.InvalidId, errors.NotFound)},
    )
    def get(self, request: Request, checkout_id: str) -> Response:
        checkout = selectors.checkout(
            workspace_id=workspace_of(request), checkout_id=check_uuid(checkout_id, "checkout")
        )
        return Response(serializers.checkout_body(checkout))


class StripeWebhookView(ApiView):
    """Stripe authenticates with its signature instead of an API key. Not part of the public API."""

    authentication_classes = ()

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        raw = request._request.body
        stripe_api.check_signature(raw, request.headers.get("Stripe-Signature", ""))
        try:
            fact = stripe_facts.fact_of_event(raw)
        except ValueError as error:
            raise errors.BadRequest(f"This is not a Stripe event: {error}.") from error
        if fact is not None:
            payments.apply_fact(fact)
        return Response({"received": True})


@require_safe
def after_checkout(request: HttpRequest, outcome: str) -> HttpResponse:
    """The page for payers when the checkout request named no URL of its own."""
    text = "Thank you. The credits arrive within a minute." if outcome == "paid" else "Nothing was paid."
    return HttpResponse(f"{text}\n", content_type="text/plain; charset=utf-8")
