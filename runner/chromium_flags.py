"""The command lines of the browsers that the runner starts."""

from __future__ import annotations

from collections.abc import Callable

from runner.identity.emulation import NATIVE_LOCALE, SHELL_SCREEN

DISABLED_FEATURES = (
    "AcceptCHFrame",  # a renegotiated connection on every first visit
    "DialMediaRouteProvider",
    "InterestFeedContentSuggestions",
    "MediaRouter",
    "OptimizationGuideModelDownloading",
    "OptimizationHints",
    "PreloadTopChromeWebUI",  # a renderer for a tab strip; a headless browser shows none
    "SpareRendererForSitePerProcess",  # 20 MB in an idle browser
    "Translate",
    # Renderers for parts of the toolbar. Each would be one more "page" to every CDP client.
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxFullPopup",
    "WebUIOmniboxPopup",
)

Flags = Callable[[str, str], list[str]]  # from the proxy's URL and the profile folder


def full_flags(proxy: str, profile: str) -> list[str]:
    """The command line of a full Chromium without its fingerprint, see `runner.identity.launch`.

    It never has `--no-sandbox` or `--enable-automation`.
    """
    # The network service has no sandbox of its own on Linux. In the browser process it takes 45 ms less CPU at the
    # start, and 12 MiB less memory.
    return [*_flags(proxy, profile), "--enable-features=NetworkServiceInProcess2"]


def _flags(proxy: str, profile: str) -> list[str]:
    return [
        "--headless=new",
        "--remote-debugging-port=0",
        f"--user-data-dir={profile}",
        f"--proxy-server={proxy}",
        "--proxy-bypass-list=<-loopback>",  # without it, loopback names bypass the proxy
        "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
        f"--disable-features={','.join(DISABLED_FEATURES)}",
        "--disable-blink-features=AutomationControlled",
        "--no-first-run",
        "--no-default-browser-check",
        "--no-pings",
        "--no-service-autorun",
        "--mute-audio",
        "--password-store=basic",
        "--use-mock-keychain",
        "--disk-cache-size=67108864",
        "--allow-pre-commit-input",
        "--disable-background-networking",
        "--disable-background-timer-throttling",
        "--disable-backgrounding-occluded-windows",
        "--disable-breakpad",
        "--disable-client-side-phishing-detection",
        "--disable-component-extensions-with-background-pages",
        "--disable-component-update",
        "--disable-crash-reporter",
        "--disable-default-apps",
        "--disable-domain-reliability",
        "--disable-extensions",
        "--disable-popup-blocking",
        "--disable-quic",
        "--disable-renderer-backgrounding",
        "--disable-search-engine-choice-screen",
        "--disable-sync",
        "about:blank",
    ]


def shell_flags(proxy: str, profile: str) -> list[str]:
    """The command line of a headless shell, which loads pages for the page service. A full Chromium accepts it too.

    A shell's window has no bars, so its size is the viewport of the default identity. Most pages need no other, and
    then no command has to set it.
    """
    screen = SHELL_SCREEN
    return [
        *_flags(proxy, profile),
        f"--lang={NATIVE_LOCALE}",
        f"--screen-info={{{screen.width}x{screen.height} workAreaTop={screen.top} workAreaBottom={screen.bottom}}}",
        f"--window-size={screen.viewport.width},{screen.viewport.height}",
        "--block-new-web-contents",  # no popups
        "--hide-scrollbars",
    ]
