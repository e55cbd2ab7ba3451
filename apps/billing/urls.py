from django.urls import path

from apps.billing import views

urlpatterns = [
    path("v1/credits", views.CreditsView.as_view()),
    path("v1/credits/ledger", views.LedgerView.as_view()),
]
