from django.urls import path

from apps.billing import views

urlpatterns = [
    path("v1/credits", views.CreditsView.as_view()),
    path("v1/credits/ledger", views.LedgerView.as_view()),
    path("v1/credits/checkout", views.CheckoutsView.as_view()),
    path("v1/credits/checkout/<str:checkout_id>", views.CheckoutView.as_view()),
    # Outside of /v1/: no API key, no rate limit of a workspace.
    path("webhooks/stripe", views.StripeWebhookView.as_view()),
    path("checkout/paid", views.after_checkout, {"outcome": "paid"}),
    path("checkout/cancelled", views.after_checkout, {"outcome": "cancelled"}),
]
