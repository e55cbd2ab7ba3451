"""browser-use's agent, one step at a time, with a state that another process can go on from.

The only package that imports browser_use. Importing it takes seconds of CPU time and some 100 MB: workers do it when
their first task comes. What that library would do beside the work is off: telemetry, cloud sync, version checks, its
own log lines, dotenv files, a judge, screenshots on the disk, marks drawn into pages.
"""

import os

# Read when the library is imported, so before anything else of this package.
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
