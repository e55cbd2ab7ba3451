from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    name = "apps.webhooks"
    label = "webhooks"

    def ready(self) -> None:
        from apps.core import health, metrics
        from apps.webhooks.metrics import read, readiness

        health.register("webhooks", readiness)
        metrics.register("webhooks", read)
