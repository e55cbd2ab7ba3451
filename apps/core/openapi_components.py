"""What drf-spectacular can't derive from views: shared headers and responses, the probes, and null in request bodies.

`complete` is a postprocessing hook of drf-spectacular (`SPECTACULAR_SETTINGS`). It runs once per process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from apps.core import errors, idempotency
from apps.core.openapi import SHARED_RESPONSES, example, headers

_TEXT: dict[str, Any] = {"type": "string"}

_HEADERS: dict[str, Any] = {
    "X-Request-Id": {
        "description": "The id of this request: your own, if you sent a valid one in this header, else a UUID.",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
    },
    "RateLimit-Policy": {
        "description": 'The limit of this call: `"create";q=20;w=20` means 20 calls at once, refilled in 20 seconds.',
        "schema": _TEXT,
    },
    "RateLimit": {
        "description": 'The rest of the limit: `"create";r=19;t=1` means 19 calls now, and one more in 1 second.',
        "schema": _TEXT,
    },
    "Retry-After": {
        "description": "Seconds to wait before the next try.",
        "schema": {"type": "integer", "minimum": 0},
    },
    idempotency.REPLAY_HEADER: {
        "description": "`true`: this is the stored answer to the first request with this Idempotency-Key.",
        "schema": {"type": "string", "const": "true"},
    },
    "WWW-Authenticate": {"description": "The scheme that this API accepts.", "schema": _TEXT},
}

_SHARED_ERRORS: dict[str, tuple[type[errors.ApiError], ...]] = {
    "401": (errors.Unauthorized, errors.InvalidApiKey),
    "413": (errors.PayloadTooLarge,),
    "415": (errors.UnsupportedMediaType,),
    "429": (errors.TooManyRequests,),
    "500": (errors.InternalError,),
    "503": (errors.NotReady, errors.DatabaseUnreachable),
}
_MORE_HEADERS = {"401": ("WWW-Authenticate",), "429": ("Retry-After",), "503": ("Retry-After",)}

_CHECKS = {
    "type": "object",
    "description": "Each part of the installation, with details for the operator.",
    "additionalProperties": {"$ref": "#/components/schemas/HealthCheck"},
}
_SCHEMAS: dict[str, Any] = {
    "Health": {"type": "object", "properties": {"status": {"type": "string", "const": "ok"}}, "required": ["status"]},
    "HealthCheck": {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "error": {"type": "string"}},
        "required": ["ok"],
    },
    "Readiness": {
        "type": "object",
        "properties": {"status": {"type": "string", "const": "ready"}, "checks": _CHECKS},
        "required": ["status", "checks"],
    },
    "NotReadyError": {
        "type": "object",
        "properties": {
            "error": {"type": "string", "description": "The error as a sentence."},
            "code": {"type": "string", "description": "The error as a code for programs."},
            "request_id": {"type": "string", "description": "Also in the X-Request-Id header."},
            "status": {"type": "string", "const": "not ready"},
            "checks": _CHECKS,
        },
        "required": ["error", "code", "request_id"],
    },
}


def complete(result: dict[str, Any], generator: object, request: object, public: bool) -> dict[str, Any]:
    components = result["components"]
    schemas = components["schemas"]
    components["headers"] = _HEADERS
    components["responses"] = {name: _shared_response(status) for status, name in SHARED_RESPONSES.items()}
    schemas.update(_SCHEMAS)
    schemas.pop("BlankEnum", None)
    schemas.pop("NullEnum", None)
    for node in _objects(result):
        _inline_blank_and_null(node)
    for name, schema in schemas.items():
        if name.endswith("Request"):
            _loosen(schema)
    components["schemas"] = dict(sorted(schemas.items()))
    result["paths"].update(_probes())
    return result


def _shared_response(status: str) -> dict[str, Any]:
    kinds = _SHARED_ERRORS[status]
    return {
        "description": " or ".join(dict.fromkeys(f"`{kind.code}`" for kind in kinds)),
        "headers": headers("X-Request-Id", *_MORE_HEADERS.get(status, ())),
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/ApiError"},
                "examples": {kind.code: {"value": example(kind)} for kind in kinds},
            }
        },
    }


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from _objects(child)
    elif isinstance(node, list):
        for child in node:
            yield from _objects(child)


def _inline_blank_and_null(node: dict[str, Any]) -> None:
    """Replaces drf-spectacular's components for `""` and null, whose names say nothing in a generated client."""
    inlined = {
        "#/components/schemas/BlankEnum": {"type": "string", "const": ""},
        "#/components/schemas/NullEnum": {"type": "null"},
    }
    if "oneOf" in node:
        node["oneOf"] = [inlined.get(choice.get("$ref", ""), choice) for choice in node["oneOf"]]


def _loosen(schema: dict[str, Any]) -> None:
    """A request body: null counts as absent, and a default is described in words.

    With the keyword `default` openapi-typescript would make the field a required one.
    """
    for name, field in schema.get("properties", {}).items():
        if name in schema.get("required", ()):
            continue
        if "default" in field:
            default = json.dumps(field.pop("default"))
            field["description"] = f"{field.get('description', '')} Default: `{default}`.".strip()
        if "oneOf" in field:
            field["oneOf"].append({"type": "null"})
        elif "anyOf" in field:
            field["anyOf"].append({"type": "null"})
        elif "type" in field:
            field["type"] = [field["type"], "null"]
        elif "$ref" in field or "allOf" in field:
            reference = field.pop("allOf")[0] if "allOf" in field else {"$ref": field.pop("$ref")}
            field["oneOf"] = [reference, {"type": "null"}]


def _probes() -> dict[str, Any]:
    return {
        "/healthz": _probe("get_health", "Liveness", "200 while the process can answer.", "Health"),
        "/readyz": _probe("get_readiness", "Readiness", "200 when agents can be provisioned.", "Readiness"),
        "/metrics": {
            "get": {
                "operationId": "get_metrics",
                "summary": "Metrics",
                "description": "In Prometheus' text format.",
                "tags": ["Operations"],
                "security": [],
                "responses": {
                    "200": {
                        "description": "The metrics of this process and of the installation.",
                        "headers": headers("X-Request-Id"),
                        "content": {"text/plain": {"schema": _TEXT}},
                    },
                    "500": {"$ref": "#/components/responses/InternalError"},
                },
            }
        },
    }


def _probe(operation_id: str, summary: str, description: str, model: str) -> dict[str, Any]:
    def answer(text: str, name: str) -> dict[str, Any]:
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
        return {"description": text, "headers": headers("X-Request-Id"), "content": content}

    responses = {"200": answer(description, model)}
    if model == "Readiness":
        responses["503"] = answer("A part does not work; `checks` names it.", "NotReadyError")
    responses["500"] = {"$ref": "#/components/responses/InternalError"}
    return {
        "get": {
            "operationId": operation_id,
            "summary": summary,
            "description": description,
            "tags": ["Operations"],
            "security": [],
            "responses": responses,
        }
    }
