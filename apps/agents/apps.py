from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "apps.agents"
    label = "agents"

    def ready(self) -> None:
        from apps.agents.health import runner_with_a_warm_browser
        from apps.agents.idempotency_resolver import outcome
        from apps.agents.metrics import read_agents, read_runner
        from apps.agents.selectors import work_state
        from apps.billing import hold_owners
        from apps.core import health, idempotency, metrics

        health.register("runner", runner_with_a_warm_browser)
        idempotency.register("agent", outcome)
        hold_owners.register("agent", work_state)
        metrics.register("runner", read_runner)
        metrics.register("agents", read_agents)
