from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "apps.jobs"
    label = "jobs"

    def ready(self) -> None:
        from apps.billing import hold_owners
        from apps.core import idempotency, metrics
        from apps.jobs import results, selectors
        from apps.jobs.idempotency_resolver import outcome
        from apps.jobs.metrics import read
        from apps.jobs.pages.batch import batch
        from apps.jobs.pages.crawl import crawl
        from apps.jobs.pages.results import BUILDERS
        from apps.jobs.pages.single import single
        from apps.jobs.services.completion import END_HOOKS
        from apps.jobs.tasks.executor import task
        from apps.jobs.tasks.services import end_hook
        from apps.jobs.worker.executor import EXECUTORS

        EXECUTORS.update(scrape=single, extract=single, screenshot=single, batch=batch, crawl=crawl, task=task)
        results.BUILDERS.update(BUILDERS)
        END_HOOKS["task"] = end_hook
        idempotency.register("job", outcome)
        hold_owners.register("job", selectors.work_state)
        metrics.register("jobs", read)
