"""Where a leased browser and the same Chromium without us differ. The test fails when one of these differs no more."""

from __future__ import annotations

# Why a leased browser does not do what Chromium does.
BY_DESIGN: dict[str, str] = {
    "a_file_of_the_machine_is_opened": "file: is blocked by policy; a jail has none of the machine's files anyway",
    "a_download_is_saved": "Playwright looks for the file on its own machine; the API has it: docs/clients.md",
    "a_context_has_a_proxy_of_its_own": "the runner's egress is the only route out of a jail, to no port of its host",
}

# What the identity takes from clients while it is set over CDP, in each target, instead of at launch.
UNTIL_LAUNCH_IDENTITY: dict[str, str] = {
    # A client's own time zone and locale lose against ours.
    "dates_are_in_the_time_zone_of_a_context": "the time zone is ours",
    "an_unknown_time_zone_is_refused": "Playwright takes the refusal for that of a second override",
    "contexts_beside_each_other_keep_their_places": "time zone and locale are ours",
    "a_worker_is_in_the_place_of_its_context": "time zone and locale are ours",
    "language_and_header_are_those_of_a_context": "Intl has our locale",
    "numbers_and_dates_are_written_as_in_the_locale": "Intl has our locale",
    "a_cross_site_frame_is_in_the_place_of_its_context": "time zone and locale are ours",
    "a_session_overrides_time_zone_and_locale_by_cdp": "an override is in effect already",
    "puppeteer_time_zone_and_locale": "an override is in effect already",
    # A popup may run before its client has set it up.
    "popups_are_routed_with_their_contexts_headers_and_credentials": "we let popups run",
    "popups_have_scripts_functions_viewport_touch_and_media": "we let popups run",
    "popups_have_user_agent_locale_and_time_zone": "we let popups run; time zone and locale are ours",
    "empty_popups_have_everything_while_their_opener_runs": "we let popups run",
    # The browser process says Macintosh, so Playwright presses the keys of a Mac.
    "the_browser_tells_the_version_that_its_pages_tell": "Browser.getVersion has the default identity",
    "puppeteer_version_and_user_agent": "Browser.getVersion has the default identity",
    "control_or_meta_selects_all": "Playwright presses Meta",
    "text_is_copied_cut_and_pasted": "Playwright presses Meta",
    # Settings of the browser's policy and of its jail.
    "permissions_are_asked_for_until_they_are_granted": "our policy denies geolocation and notifications",
    "a_page_knows_that_it_is_offline": "a jail has only a loopback interface, so Chromium is never online",
}
