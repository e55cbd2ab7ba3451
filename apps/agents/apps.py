from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "apps.agents"
    label = "agents"

    def ready(self) -> None:
        from apps.agents.health import runner_with_a_warm_browser
        from apps.core import health

        health.register("runner", runner_with_a_warm_browser)
