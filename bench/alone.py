"""browser-use by itself, in a process of its own: `python -m bench.alone` runs the bench's script for each CDP address
on its standard input, and prints how many seconds that took.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.update(ANONYMIZED_TELEMETRY="false", BROWSER_USE_SETUP_LOGGING="false", BROWSER_USE_VERSION_CHECK="false")

from browser_use import Agent, BrowserProfile, BrowserSession
from browser_use.llm import ChatAnthropic


async def run(cdp_url: str, base_url: str) -> float:
    """With the settings that our workers use."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        profile = BrowserProfile(
            cdp_url=cdp_url,
            keep_alive=True,
            downloads_path=Path(folder) / "downloads",
            user_data_dir=Path(folder) / "profile",
            accept_downloads=False,
            no_viewport=True,
            enable_default_extensions=False,
            captcha_solver=False,
            highlight_elements=False,
        )
        session = BrowserSession(browser_profile=profile)
        agent: Any = Agent(
            task="Play the script.",
            llm=ChatAnthropic(model="claude-bench", api_key="sk-bench", base_url=base_url),
            browser_session=session,
            use_judge=False,
            directly_open_url=False,
            enable_signal_handler=False,
            file_system_path=folder,
        )
        history = await agent.run(max_steps=8)
        took = time.monotonic() - began
        if history.final_result() != "Ada is here.":
            raise RuntimeError(f"browser-use did not do it: {history.errors()}")
        await session.stop()
    return took


async def main() -> None:
    base_url = sys.argv[1]
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(await run(line.strip(), base_url), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
