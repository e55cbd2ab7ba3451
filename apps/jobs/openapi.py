"""The schemas of job results, whose shape depends on the kind of the job.

`add_results` is a postprocessing hook of drf-spectacular (`SPECTACULAR_SETTINGS`).
"""

from __future__ import annotations

from typing import Any

from apps.core.openapi import AGENT_ID

_TEXT: dict[str, Any] = {"type": "string"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}

_PAGE_ROW = {
    "type": "object",
    "description": "One page of a batch or crawl: the result of the call that loaded it, or an error.",
    "properties": {
        "url": {"type": "string", "description": "As it was asked for."},
        "status": {"$ref": "#/components/schemas/PageStatus"},
        "final_url": {"type": "string", "description": "Where the page ended up."},
        "http_status": {"type": "integer"},
        "title": _TEXT,
        "content_type": _TEXT,
        "html": _TEXT,
        "text": _TEXT,
        "links": {"type": "array", "items": _TEXT},
        "screenshot_png_b64": _TEXT,
        "markdown": _TEXT,
        "schema": {"type": ["object", "null"], "additionalProperties": {}},
        "prompt": _TEXT,
        "truncated": {"type": "array", "items": _TEXT, "description": "The names of the fields that were cut."},
        "depth": {**_COUNT, "description": "Of a crawl: the number of links from the start."},
        "agent_id": AGENT_ID,
        "trust_score": _COUNT,
        "cost_credits": _COUNT,
        "duration_ms": _COUNT,
        "error_code": _TEXT,
        "error_message": _TEXT,
    },
    "required": ["url", "status"],
}


def _rows(name: str) -> dict[str, Any]:
    rows = {"type": "array", "items": {"$ref": "#/components/schemas/PageRow"}}
    return {
        "type": "object",
        "properties": {name: rows, "completed": _COUNT, "failed": _COUNT},
        "required": [name, "completed", "failed"],
    }


_SCHEMAS: dict[str, Any] = {
    "PageStatus": {"type": "string", "enum": ["completed", "failed"]},
    "PageRow": _PAGE_ROW,
    "BatchResult": _rows("results"),
    "CrawlResult": _rows("pages"),
    "TokenCounts": {
        "type": "object",
        "properties": {"input": _COUNT, "output": _COUNT},
        "required": ["input", "output"],
    },
    "TaskResult": {
        "type": "object",
        "properties": {
            "final_result": {"type": ["string", "null"]},
            "success": {"type": "boolean", "description": "What the model says of its own work."},
            "trust_score": _COUNT,
            "steps_taken": _COUNT,
            "tokens": {"$ref": "#/components/schemas/TokenCounts"},
            "cost_usd": {
                "type": ["number", "null"],
                "description": "What the model cost; null if the price of the model is not known.",
            },
            "output": {"description": "With `output_schema`: the answer, as JSON that fits it."},
        },
        "required": ["final_result", "success", "trust_score", "steps_taken", "tokens"],
    },
    "InputRequest": {
        "type": "object",
        "properties": {
            "question": _TEXT,
            "asked_at": {"type": "string", "format": "date-time"},
            "expires_at": {"type": "string", "format": "date-time"},
        },
        "required": ["question", "asked_at", "expires_at"],
    },
    # A generated client tries these in order: those with more required fields come first.
    "JobResult": {
        "anyOf": [
            {"$ref": f"#/components/schemas/{name}"}
            for name in (
                "ExtractResult",
                "ScreenshotResult",
                "RoutedScrape",
                "ScrapeResult",
                "BatchResult",
                "CrawlResult",
                "TaskResult",
            )
        ]
    },
}


def add_results(result: dict[str, Any], generator: object, request: object, public: bool) -> dict[str, Any]:
    schemas = {**result["components"]["schemas"], **_SCHEMAS}
    result["components"]["schemas"] = dict(sorted(schemas.items()))
    return result
