from typing import Any

from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "apps.billing"
    label = "billing"

    def ready(self) -> None:
        from apps.accounts.signals import workspace_created
        from apps.billing.idempotency_resolver import outcome
        from apps.billing.metrics import read
        from apps.billing.services import open_account
        from apps.core import idempotency, metrics

        def open_for_new_workspace(sender: object, workspace: Any, **kwargs: object) -> None:
            open_account(workspace=workspace)

        idempotency.register("checkout", outcome)
        workspace_created.connect(open_for_new_workspace, weak=False, dispatch_uid="billing.open_account")
        metrics.register("billing", read)
