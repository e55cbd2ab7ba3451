"""The OpenAPI document: valid, complete, and without what isn't public."""

from __future__ import annotations

import re
from collections.abc import Iterator
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
        "GET /v1/agents/{agent_id}/trust",
        "GET /v1/agents/{agent_id}/detection-signal",
        "GET /v1/agents/{agent_id}/fingerprint",
        "GET /v1/agents/{agent_id}/downloads",
        "GET /v1/agents/{agent_id}/downloads/{name}",
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
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    }


def operations(document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of the API: the probes and the metrics need no key."""
    for path, item in document["paths"].items():
        for operation in item.values():
            if path.startswith("/v1/"):
                yield path, operation


def described(document: Any, response: dict[str, Any]) -> dict[str, Any]:
    """The response itself, if it is a reference to a component."""
    _, _, name = response.get("$ref", "").rpartition("/")
    found: dict[str, Any] = document["components"]["responses"][name] if name else response
    return found


def objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    for child in node if isinstance(node, list) else ():
        yield from objects(child)


def test_a_key_is_sent_in_one_of_two_ways(document: Any) -> None:
    schemes = document["components"]["securitySchemes"]

    assert {scheme["type"] for scheme in schemes.values()} == {"apiKey", "http"}
    for path, operation in operations(document):
        assert operation["security"] == [{"ApiKey": []}, {"Bearer": []}], path
    assert document["paths"]["/healthz"]["get"]["security"] == []


def test_every_call_says_how_it_can_fail(document: Any) -> None:
    for path, operation in operations(document):
        assert {"401", "429", "500", "503"} <= operation["responses"].keys(), path
        assert operation["summary"] and operation["tags"]
        if "requestBody" in operation:
            assert {"400", "413", "415"} <= operation["responses"].keys(), path


def test_what_every_call_shares_is_a_component(document: Any) -> None:
    responses = document["paths"]["/v1/credits"]["get"]["responses"]

    for status in ("401", "429", "500", "503"):
        assert list(responses[status]) == ["$ref"]
    for status, code in (("413", "PAYLOAD_TOO_LARGE"), ("415", "UNSUPPORTED_MEDIA_TYPE")):
        refusal = described(document, document["paths"]["/v1/keys"]["post"]["responses"][status])
        assert code in refusal["description"]


def test_every_response_says_its_headers(document: Any) -> None:
    for path, operation in operations(document):
        for status, response in operation["responses"].items():
            headers = described(document, response)["headers"]
            assert "X-Request-Id" in headers, path
            assert ("Retry-After" in headers) == (status in ("409", "429", "503")), path
            if status.startswith("2"):
                assert {"RateLimit", "RateLimit-Policy"} <= headers.keys(), path
    created = document["paths"]["/v1/agents"]["post"]["responses"]["201"]
    assert created["headers"]["Idempotent-Replay"] == {"$ref": "#/components/headers/Idempotent-Replay"}
    assert "Idempotent-Replay" not in document["paths"]["/v1/agents"]["get"]["responses"]["200"]["headers"]


def test_parameters_have_patterns_or_bounds(document: Any) -> None:
    for path, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            schema = parameter["schema"]
            if parameter["in"] == "path":
                assert schema.keys() & {"pattern", "minimum"}, (path, parameter["name"])
            if schema["type"] == "integer":
                assert {"minimum", "maximum"} <= schema.keys(), (path, parameter["name"])
    for name in ("scrape", "extract", "screenshot"):
        parameters = document["paths"][f"/v1/quick/{name}"]["post"]["parameters"]
        assert {"async": "boolean"}.items() <= {one["name"]: one["schema"]["type"] for one in parameters}.items()


def test_names_read_well_in_generated_clients(document: Any) -> None:
    for name in document["components"]["schemas"]:
        assert re.fullmatch("([A-Z][a-z]+)+", name), name
        assert not name.endswith("Enum"), name
        assert name not in ("Error", "Object", "Date"), name
    for path, operation in operations(document):
        assert re.fullmatch("[a-z]+(_[a-z]+)*", operation["operationId"]), path
        assert not operation["operationId"].endswith(("_create", "_retrieve", "_list")), path


def test_fields_with_a_default_are_optional_for_every_generator(document: Any) -> None:
    """openapi-typescript makes a property with the keyword `default` a required one."""
    for name, schema in document["components"]["schemas"].items():
        for field in schema.get("properties", {}).values():
            assert "default" not in field, name
    task = document["components"]["schemas"]["TaskRequest"]
    assert set(task["required"]) == {"task", "llm_api_key"}
    assert "Default: `20`" in task["properties"]["max_steps"]["description"]
    assert task["properties"]["max_steps"]["type"] == ["integer", "null"]


def test_no_value_fits_two_of_a_choice(document: Any) -> None:
    for node in objects(document):
        assert {} not in node.get("oneOf", ()), node


def test_internal_docstrings_are_not_in_it(document: Any) -> None:
    assert "waiting_methods" not in str(document)


def test_idempotency_keys_are_in_it(document: Any) -> None:
    paths = document["paths"]

    for path in ("/v1/agents", "/v1/keys"):
        operation = paths[path]["post"]
        assert "Idempotency-Key" in {parameter["name"] for parameter in operation["parameters"]}
        assert "IDEMPOTENCY_KEY_REUSED" in operation["responses"]["422"]["description"]
        assert "IDEMPOTENCY_IN_PROGRESS" in operation["responses"]["409"]["description"]
    assert "AGENT_NOT_RUNNING" in paths["/v1/agents"]["post"]["responses"]["409"]["description"]
    assert all(parameter["name"] != "Idempotency-Key" for parameter in paths["/v1/agents"]["get"]["parameters"])
