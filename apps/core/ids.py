"""The formats of ids: a readable prefix with random hex, or a UUID."""

from __future__ import annotations

import re
import secrets
import uuid

from apps.core.errors import InvalidId

AGENT_PREFIX = "agt_"
PROFILE_PREFIX = "prf_"
EVENT_PREFIX = "evt_"


def new_agent_id() -> str:
    return AGENT_PREFIX + secrets.token_hex(10)


def profile_id_of(agent_id: str) -> str:
    """The id of an agent's profile: the same for the agent's whole life, and no secret."""
    return PROFILE_PREFIX + agent_id.removeprefix(AGENT_PREFIX)


def agent_id_of(profile_id: str) -> str:
    """The reverse of `profile_id_of`. No agent has the result when `profile_id` is not an id of a profile."""
    return AGENT_PREFIX + profile_id.removeprefix(PROFILE_PREFIX) if profile_id.startswith(PROFILE_PREFIX) else ""


def new_event_id() -> str:
    return EVENT_PREFIX + secrets.token_hex(16)


def check_agent_id(text: str) -> str:
    """Raises InvalidId."""
    if not re.fullmatch(r"agt_[0-9a-f]{20}", text):
        raise InvalidId("agent id must be agt_ and 20 hex digits (e.g. agt_aabbccddeeff00112233)")
    return text


def check_uuid(text: str, what: str) -> uuid.UUID:
    """`what` names the resource in the message. Raises InvalidId."""
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text):
        raise InvalidId(f"{what} id must be a UUID (e.g. 252e8eac-…)")
    return uuid.UUID(text)
