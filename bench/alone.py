"""The baseline for tasks: browser-use without Browsa, in a separate process.

`python -m bench.alone BASE_URL` runs the benchmark's script for each CDP address on its standard input and prints the
seconds that each took.
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
    """Run the script once, with the settings that Browsa's workers use. Returns the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        profile = BrowserProfile(
            cdp_url=cdp_url,
            keep_alive=True,
            downloads_path=Path(folder) / "downloads",
            user_data_dir=Path(folder) / "profile",
            accept_downloads=False,
            headless=False,
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
            raise RuntimeError(f"browser-use did not complete the script: {history.errors()}")
        await session.stop()
    return took


async def main() -> None:
    base_url = sys.argv[1]
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(await run(line.strip(), base_url), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
