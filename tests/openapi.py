"""The OpenAPI document as a judge: does an answer of the API fit what the document says of its operation?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

_HERE = "urn:browsa:openapi"


@dataclass(frozen=True)
class Contract:
    """`problems_of(…)` are sentences about one answer; none: it fits."""

    document: dict[str, Any]
    _registry: Any = field(init=False)

    def __post_init__(self) -> None:
        resource = DRAFT202012.create_resource(_closed(self.document))
        object.__setattr__(self, "_registry", Registry().with_resource(_HERE, resource))

    def operation_ids(self) -> set[str]:
        return {operation["operationId"] for _, _, operation in self._operations()}

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """`path` without a query. A literal path goes before one with parameters."""
        fitting = [
            (template.count("{"), operation)
            for template, verb, operation in self._operations()
            if verb == method.lower() and re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path)
        ]
        return min(fitting, key=lambda one: one[0])[1] if fitting else None

    def problems_of(self, method: str, path: str, status: int, headers: Mapping[str, str], content: bytes) -> list[str]:
        operation = self.operation(method, path.partition("?")[0])
        if operation is None:
            return [f"{method} {path} is not in the document"]
        name = f"{operation['operationId']} {status}"
        response = self._resolved(operation["responses"].get(str(status)))
        if response is None:
            return [f"{name}: the status is not in the document"]
        sent = {header.lower(): value for header, value in headers.items()}
        missing = [
            header
            for header, described in response.get("headers", {}).items()
            if self._resolved(described).get("required") and header.lower() not in sent
        ]
        problems = [f"{name}: no {header}" for header in missing]
        media_types = response.get("content", {})
        if not media_types:
            return [*problems, *([f"{name}: a body that is not in the document"] if content else [])]
        media_type = sent.get("content-type", "").partition(";")[0]
        if media_type not in media_types:
            return [*problems, f"{name}: {media_type or 'no media type'} is not in the document"]
        if media_type == "application/json":
            problems += [
                f"{name}: {one}" for one in self.misfits(json.loads(content), media_types[media_type]["schema"])
            ]
        return problems

    def misfits(self, value: Any, schema: dict[str, Any]) -> list[str]:
        """What is wrong with `value`; references of `schema` are the document's."""
        absolute = json.loads(json.dumps(_closed(schema)).replace('"#/components', f'"{_HERE}#/components'))
        validator = Draft202012Validator(absolute, registry=self._registry)
        return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]

    def _operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for template, item in self.document["paths"].items():
            for verb, operation in item.items():
                yield template, verb, operation

    def _resolved(self, node: Any) -> Any:
        if isinstance(node, dict) and "$ref" in node:
            return self._registry.resolver(_HERE).lookup(node["$ref"]).contents
        return node


# Their details are the operator's business, and differ between parts.
_OPEN = frozenset({"HealthCheck"})


def _closed(node: Any, name: str = "") -> Any:
    """A copy in which no object may have a field that the document does not name."""
    if isinstance(node, list):
        return [_closed(child) for child in node]
    if not isinstance(node, dict):
        return node
    copy = {key: _closed(child, key) for key, child in node.items()}
    if isinstance(copy.get("properties"), dict) and copy.get("type") == "object" and name not in _OPEN:
        copy.setdefault("additionalProperties", False)
    return copy


@cache
def contract() -> Contract:
    """Of the application in this process."""
    from tests.cast import call

    return Contract(call("GET", "/openapi.json").body)
