"""The agents' part of `/metrics`: the runner's browsers, the live agents, and the time to provision an agent."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from apps.agents import selectors
from apps.agents.control_client import runner_client
from apps.core.metrics import gauge, histogram

provisions = histogram("browsa_provision_duration_seconds", "From a valid POST /v1/agents to its outcome.", ["outcome"])


def read_runner() -> Iterator[Metric]:
    status = runner_client().status()
    browsers = {"warm": status.warm, "leased": status.leased, "starting": status.starting}
    yield gauge("browsa_pool_browsers", "Browsers of the runner.", [((k,), v) for k, v in browsers.items()], ["state"])
    yield gauge("browsa_pool_limit", "Browsers that the runner runs at most.", [((), status.limit)])
    yield gauge("browsa_pool_waiting", "Calls that wait for a browser.", [((), status.waiting)])
    upstreams = [
        ((country.country, state), count)
        for country in status.egress
        for state, count in (("healthy", country.healthy), ("resting", country.upstreams - country.healthy))
    ]
    yield gauge("browsa_egress_upstreams", "Upstream proxies of each country.", upstreams, ["country", "state"])


def read_agents() -> Iterator[Metric]:
    live = selectors.live_by_mode()
    yield gauge("browsa_agents", "Queued and running agents.", list(live.items()), ["state", "mode"])
