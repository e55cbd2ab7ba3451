"""The library's state: saved, brought back, and undone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from browser_use.agent.message_manager.views import MessageHistory
from browser_use.agent.views import ActionResult, AgentOutput, AgentState


@dataclass(frozen=True, slots=True)
class StepSnapshot:
    """What a step's beginning uses up of the state. When the model decides nothing the next attempt needs it again."""

    result: list[ActionResult] | None
    output: AgentOutput | None
    items: int

    @classmethod
    def take(cls, state: AgentState) -> StepSnapshot:
        items = len(state.message_manager_state.agent_history_items)
        return cls(state.last_result, state.last_model_output, items)

    def restore(self, state: AgentState) -> None:
        state.last_result, state.last_model_output = self.result, self.output
        del state.message_manager_state.agent_history_items[self.items :]


def dump(state: AgentState) -> dict[str, Any]:
    """All but the messages, which are made anew for each step, and the last output, whose type is the agent's own."""
    messages = state.message_manager_state
    history, output = messages.history, state.last_model_output
    messages.history, state.last_model_output = MessageHistory(), None
    try:
        return state.model_dump(mode="json")
    finally:
        messages.history, state.last_model_output = history, output


def load(saved: dict[str, Any], directory: Path) -> AgentState:
    """`directory` holds the agent's notes."""
    state = AgentState.model_validate(saved)
    if state.file_system_state is not None:
        state.file_system_state.base_dir = str(directory)  # this process's, not the one's that has died
    return state
