"""How browser-use's agent is built: no judge and no other calls of the model that the task did not ask for."""

from __future__ import annotations

from pathlib import Path

from apps.jobs.tasks.llm.names import ModelName
from apps.jobs.tasks.process import load_browser_agent


async def test_the_agent_has_no_judge_and_calls_the_model_for_steps_only(tmp_path: Path) -> None:
    library = await load_browser_agent()
    model = library.TaskModel(ModelName.parse("gpt-4.1-mini"), base_url="", key="sk-1")

    async def act() -> None:
        raise AssertionError("no step is taken")

    built = library.BrowserAgent(
        library.AgentGoal(task="x", max_steps=3),
        model=model,
        cdp_url="ws://127.0.0.1:1/",
        directory=tmp_path,
        before_actions=act,
    )
    chosen = built._agent.settings

    assert chosen.use_judge is False
    assert (chosen.final_response_after_failure, chosen.calculate_cost) == (False, False)
    assert chosen.page_extraction_llm is model.chat
    await built.close()
    await model.close()
