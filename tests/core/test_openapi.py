"""The OpenAPI document: valid, complete, and without what isn't public."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.cast import call


@pytest.fixture(scope="module")
def document() -> Any:
    return yaml.load(call("GET", "/openapi.yaml").content, yaml.CSafeLoader)  # Python's own takes seconds


def test_both_forms_say_the_same(document: Any) -> None:
    assert document == call("GET", "/openapi.json").body


def test_it_is_openapi_3_1_and_valid(document: Any) -> None:
    assert document["openapi"].startswith("3.1.")  # the view validates it before it answers


def test_every_public_call_is_in_it_and_nothing_else(document: Any) -> None:
    calls = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}

    assert calls == {
        "GET /v1/agents",
        "POST /v1/agents",
        "GET /v1/agents/{agent_id}",
        "DELETE /v1/agents/{agent_id}",
        "GET /v1/agents/{agent_id}/cdp",
        "GET /v1/agents/{agent_id}/live",
        "POST /v1/agents/{agent_id}/sessions",
        "GET /v1/jobs",
        "GET /v1/jobs/{job_id}",
        "GET /v1/jobs/{job_id}/status",
        "GET /v1/jobs/{job_id}/result",
        "GET /v1/jobs/{job_id}/events",
        "POST /v1/jobs/{job_id}/cancel",
        "POST /v1/jobs/{job_id}/respond",
        "POST /v1/quick/scrape",
        "POST /v1/quick/extract",
        "POST /v1/quick/screenshot",
        "POST /v1/quick/batch",
        "POST /v1/quick/crawl",
        "POST /v1/auto",
        "GET /v1/team/members",
        "GET /v1/webhooks",
        "POST /v1/webhooks",
        "GET /v1/webhooks/{webhook_id}",
        "PATCH /v1/webhooks/{webhook_id}",
        "DELETE /v1/webhooks/{webhook_id}",
        "POST /v1/webhooks/{webhook_id}/ping",
        "POST /v1/webhooks/{webhook_id}/test",
        "GET /v1/webhooks/{webhook_id}/deliveries",
        "POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",
        "GET /v1/webhooks/signing-secret",
        "POST /v1/webhooks/signing-secret/rotate",
        "POST /v1/tasks",
        "GET /v1/jobs/{job_id}/steps/{step}/screenshot",
        "GET /v1/credits",
        "GET /v1/credits/checkout",
        "POST /v1/credits/checkout",
        "GET /v1/credits/checkout/{checkout_id}",
        "GET /v1/credits/ledger",
        "GET /v1/keys",
        "POST /v1/keys",
        "DELETE /v1/keys/{key_id}",
    }


def test_both_ways_to_send_a_key_are_in_it(document: Any) -> None:
    schemes = document["components"]["securitySchemes"]

    assert {scheme["type"] for scheme in schemes.values()} == {"apiKey", "http"}


def test_every_call_says_how_it_can_fail(document: Any) -> None:
    for item in document["paths"].values():
        for operation in item.values():
            assert "401" in operation["responses"]
            assert operation["summary"] and operation["tags"]


def test_the_headers_of_rate_limits_are_in_it(document: Any) -> None:
    responses = document["paths"]["/v1/agents"]["post"]["responses"]
    assert {"RateLimit", "RateLimit-Policy"} <= set(responses["201"]["headers"])
    assert "429" in document["paths"]["/v1/credits"]["get"]["responses"]


def test_idempotency_keys_are_in_it(document: Any) -> None:
    paths = document["paths"]

    for path in ("/v1/agents", "/v1/keys"):
        operation = paths[path]["post"]
        assert "Idempotency-Key" in {parameter["name"] for parameter in operation["parameters"]}
        assert "IDEMPOTENCY_KEY_REUSED" in operation["responses"]["422"]["description"]
        assert "IDEMPOTENCY_IN_PROGRESS" in operation["responses"]["409"]["description"]
    assert "AGENT_NOT_RUNNING" in paths["/v1/agents"]["post"]["responses"]["409"]["description"]
    assert all(parameter["name"] != "Idempotency-Key" for parameter in paths["/v1/agents"]["get"]["parameters"])
