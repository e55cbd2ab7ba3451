"""Where a leased browser and the same Chromium without us differ. The test fails when one of these differs no more."""

from __future__ import annotations

# Why a leased browser does not do what Chromium does.
BY_DESIGN: dict[str, str] = {
    "a_file_of_the_machine_is_opened": "file: is blocked by policy; a jail has none of the machine's files anyway",
    "a_download_is_saved": "Playwright looks for the file on its own machine; the API has it: docs/clients.md",
    "a_context_has_a_proxy_of_its_own": "the runner's egress is the only route out of a jail, to no port of its host",
}
