from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "apps.jobs"
    label = "jobs"

    def ready(self) -> None:
        from apps.billing import work
        from apps.core import idempotency, metrics
        from apps.jobs import executors, page_results  # noqa: F401  registers them
        from apps.jobs.metrics import read
        from apps.jobs.outcomes import outcome
        from apps.jobs.selectors import fate

        idempotency.register("job", outcome)
        work.register("job", fate)
        metrics.register("jobs", read)
