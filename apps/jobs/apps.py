from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "apps.jobs"
    label = "jobs"

    def ready(self) -> None:
        from apps.core import idempotency, metrics
        from apps.jobs import executors, page_results  # noqa: F401  registers them
        from apps.jobs.metrics import read
        from apps.jobs.outcomes import outcome

        idempotency.register("job", outcome)
        metrics.register("jobs", read)
