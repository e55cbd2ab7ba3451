from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "apps.jobs"
    label = "jobs"

    def ready(self) -> None:
        from apps.core import idempotency
        from apps.jobs import executors, page_results  # noqa: F401  registers them
        from apps.jobs.outcomes import outcome

        idempotency.register("job", outcome)
