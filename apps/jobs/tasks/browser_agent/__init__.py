"""Runs browser-use's agent one step at a time, with a state from which another process can resume.

This is the only package that imports browser_use. The import takes seconds of CPU time and about 100 MB, so a worker
does it for its first task. These features of the library are off: telemetry, cloud sync, version checks, logging,
dotenv files, the judge, screenshots on disk, highlights in pages.
"""

import os

# browser_use reads these variables when it is imported, so they are set before the imports below.
os.environ.update(
    ANONYMIZED_TELEMETRY="false",
    BROWSER_USE_SETUP_LOGGING="false",
    BROWSER_USE_CLOUD_SYNC="false",
    BROWSER_USE_VERSION_CHECK="false",
    BROWSER_USE_CLOUD_HINTS="false",
    BROWSER_USE_DISABLE_EXTENSIONS="1",
    SKIP_LLM_API_KEY_VERIFICATION="true",
    PYTHON_DOTENV_DISABLED="1",
)

from apps.jobs.tasks.browser_agent.agent import AgentGoal, BrowserAgent, Disconnected, Final, Step, UnusableAnswer
from apps.jobs.tasks.browser_agent.model import TaskModel

__all__ = ["AgentGoal", "BrowserAgent", "Disconnected", "Final", "Step", "TaskModel", "UnusableAnswer"]
