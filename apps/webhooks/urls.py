from django.urls import path

from apps.webhooks import views

urlpatterns = [
    path("v1/webhooks", views.WebhooksView.as_view()),
    path("v1/webhooks/signing-secret", views.SigningSecretView.as_view()),
    path("v1/webhooks/signing-secret/rotate", views.SigningSecretRotationView.as_view()),
    path("v1/webhooks/<str:webhook_id>", views.WebhookView.as_view()),
    path("v1/webhooks/<str:webhook_id>/ping", views.PingView.as_view()),
    path("v1/webhooks/<str:webhook_id>/test", views.PingUnderAnotherNameView.as_view()),
    path("v1/webhooks/<str:webhook_id>/deliveries", views.DeliveriesView.as_view()),
    path("v1/webhooks/<str:webhook_id>/deliveries/<str:delivery_id>/redeliver", views.RedeliveryView.as_view()),
]
