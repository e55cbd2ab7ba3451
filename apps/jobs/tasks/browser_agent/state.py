"""Saves and loads the state of browser-use's agent, and undoes the changes of a step without an answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from browser_use.agent.message_manager.views import MessageHistory
from browser_use.agent.views import ActionResult, AgentOutput, AgentState


@dataclass(frozen=True, slots=True)
class StepSnapshot:
    """The parts of the state that the start of a step consumes. A retry of the step needs them again."""

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
    """The state without its messages, which each step builds again, and without the last output, whose type the
    agent creates.
    """
    messages = state.message_manager_state
    history, output = messages.history, state.last_model_output
    messages.history, state.last_model_output = MessageHistory(), None
    try:
        return state.model_dump(mode="json")
    finally:
        messages.history, state.last_model_output = history, output


def load(saved: dict[str, Any], directory: Path) -> AgentState:
    """`directory` is for the agent's notes."""
    state = AgentState.model_validate(saved)
    if state.file_system_state is not None:
        state.file_system_state.base_dir = str(directory)  # the saved path belongs to the earlier process
    return state
