"""Loaded by schemathesis (`SCHEMATHESIS_HOOKS`): what a run must not do to itself."""

from __future__ import annotations

import os
from typing import Any

import schemathesis

UNKNOWN = "x-schemathesis-unknown-property"


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """The run's own key stays valid: a key may revoke itself, and all later answers would be 401.

    Fields that the document does not name are ignored, in queries and headers too: schemathesis' own is not sent.
    And a link whose value is null (the `agent_id` of a ledger entry without an agent) leads nowhere.
    """
    parameters = case.path_parameters or {}
    revokes_own_key = case.method == "DELETE" and parameters.get("key_id") == os.environ["OWN_KEY_ID"]
    if UNKNOWN in {name.lower() for part in (case.headers, case.query) for name in part or ()}:
        return False
    return not revokes_own_key and not {None, "None"} & {*map(_text, parameters.values())}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


@schemathesis.hook
def map_query(context: Any, query: Any) -> Any:
    """A long-poll of a job that no worker runs takes as long as it may: one second here."""
    if isinstance(query, dict) and isinstance(query.get("wait"), int) and 1 <= query["wait"] <= 120:
        return {**query, "wait": 1}
    return query
