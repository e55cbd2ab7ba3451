"""A runner's settings, read once from its environment and checked before anything starts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from addresses.egress import Countries, parse_countries
from addresses.policy import AllowRule, parse_allow_list
from fingerprints.places import PLACES
from runner.browsers import find_chromium, find_headless_shell
from runner.cgroups import DEFAULT_LIMITS, Limits
from runner.jail import WRITABLE_BYTES

# Measured: PSS of a leased full Chromium with one ordinary page, rounded up.
BROWSER_BYTES = 450 * 2**20

# What each slot for a page adds to the limits of the headless shell.
PAGE_BYTES = 256 * 2**20
PAGE_PIDS = 128
PAGE_CPU_WEIGHT = 100
MAX_CPU_WEIGHT = 10_000  # of cgroup v2

DEFAULT_PORTS = {"http": 80, "https": 443}


class ConfigError(Exception):
    """A setting is missing or invalid; the message has its name and what to do."""


@dataclass(frozen=True, slots=True)
class RunnerConfig:
    """Pool sizes are in browsers, times in seconds. `home` is the folder for files that must survive a restart.

    `max_browsers` is None when it follows from the memory, see `browsers_that_fit`. `browser_limits` apply to each
    browser, `shell_limits` to the headless shell, which loads the pages of all slots.
    """

    runner_id: str
    home: Path
    control_socket: Path
    gateway_host: str
    gateway_port: int
    public_cdp_url: str
    report_url: str | None
    token: str
    chromium: Path
    headless_shell: Path
    jail: Literal["bwrap", "off"]
    pool_size: int
    max_browsers: int | None
    page_places: int
    cgroups: Literal["auto", "off"]
    browser_limits: Limits
    drain_seconds: float
    allow: tuple[AllowRule, ...]
    countries: Countries
    echo_url: str | None
    origins: frozenset[str]
    page_origin: str

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> RunnerConfig:
        """Raises ConfigError."""
        home = Path(env.get("BROWSA_HOME", ".browsa")).absolute()
        chromium = find_chromium(env)
        if chromium is None:
            raise ConfigError("no Chromium found: install one (Debian: chromium) or set BROWSA_CHROMIUM")
        jail = env.get("BROWSA_JAIL", "bwrap")
        if jail not in ("bwrap", "off"):
            raise ConfigError(f"BROWSA_JAIL must be bwrap or off, not {jail!r}")
        cgroups = env.get("BROWSA_CGROUPS", "auto")
        if cgroups not in ("auto", "off"):
            raise ConfigError(f"BROWSA_CGROUPS must be auto or off, not {cgroups!r}")
        api_port = _integer(env, "BROWSA_PORT", 8000, most=65535)
        port = _integer(env, "BROWSA_GATEWAY_PORT", api_port + 1, most=65535)
        pool_size = _integer(env, "BROWSA_POOL_SIZE", 4, least=0)
        runner_id = env.get("BROWSA_RUNNER_ID", "r1")
        if not runner_id.isascii() or not runner_id.isalnum():
            raise ConfigError("BROWSA_RUNNER_ID must be ASCII letters and digits: it is part of every CDP address")
        return cls(
            runner_id=runner_id,
            home=home,
            control_socket=Path(env.get("BROWSA_RUNNER_SOCKET", str(home / "runner.sock"))),
            gateway_host=env.get("BROWSA_GATEWAY_HOST", "127.0.0.1"),
            gateway_port=port,
            public_cdp_url=env.get("BROWSA_PUBLIC_CDP_URL", f"ws://127.0.0.1:{port}").rstrip("/"),
            report_url=env.get("BROWSA_REPORT_URL"),
            token=env.get("BROWSA_RUNNER_TOKEN", ""),
            chromium=chromium,
            headless_shell=find_headless_shell(env) or chromium,
            jail=jail,  # type: ignore[arg-type]  # mypy does not narrow `in` on a tuple of literals
            pool_size=pool_size,
            max_browsers=_integer(env, "BROWSA_MAX_BROWSERS", 1) if env.get("BROWSA_MAX_BROWSERS") else None,
            page_places=_integer(env, "BROWSA_PAGE_PLACES", 4 * (os.cpu_count() or 1)),
            cgroups=cgroups,  # type: ignore[arg-type]  # as above
            browser_limits=Limits(
                memory=_integer(env, "BROWSA_BROWSER_MEMORY_MIB", DEFAULT_LIMITS.memory >> 20, least=512) << 20,
                pids=_integer(env, "BROWSA_BROWSER_PIDS", DEFAULT_LIMITS.pids, least=256),
                cpu_weight=_integer(env, "BROWSA_BROWSER_CPU_WEIGHT", DEFAULT_LIMITS.cpu_weight, most=MAX_CPU_WEIGHT),
            ),
            drain_seconds=float(_integer(env, "BROWSA_DRAIN_SECONDS", 20, least=0)),
            allow=_allow(env.get("BROWSA_ALLOW_ADDRESSES", "")),
            countries=_countries(env.get("EGRESS_COUNTRIES") or '{"us": "direct"}'),
            echo_url=_echo_url(env.get("EGRESS_ECHO_URL", "")),
            origins=frozenset(filter(None, env.get("BROWSA_CDP_ORIGINS", "").split(","))),
            page_origin=_origin(env.get("BROWSA_PUBLIC_URL") or f"http://127.0.0.1:{api_port}"),
        )

    @property
    def shell_limits(self) -> Limits:
        return Limits(
            memory=self.browser_limits.memory + self.page_places * PAGE_BYTES,
            pids=self.browser_limits.pids + self.page_places * PAGE_PIDS,
            cpu_weight=min(MAX_CPU_WEIGHT, self.browser_limits.cpu_weight + self.page_places * PAGE_CPU_WEIGHT),
        )

    def limit(self, *, files_count: bool) -> int:
        """The most browsers that may run at once. `files_count`: a jail's memory limit includes its files."""
        return self.max_browsers or max(self.pool_size, browsers_that_fit(files_count=files_count))


def _integer(env: Mapping[str, str], name: str, default: int, *, least: int = 1, most: int = 10**9) -> int:
    raw = env.get(name) or str(default)
    if not re.fullmatch("[0-9]{1,10}", raw) or not least <= int(raw) <= most:
        raise ConfigError(f"{name} must be a whole number from {least} to {most}, not {raw!r}")
    return int(raw)


def _origin(url: str) -> str:
    """The `Origin` header that a browser sends from a page at `url` (RFC 6454, 6.2)."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:  # an invalid port or bracket
        scheme, host, port = "", "", None
    if scheme not in DEFAULT_PORTS or not host:
        raise ConfigError(f"BROWSA_PUBLIC_URL must be a URL with http or https, not {url!r}")
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}" + (f":{port}" if port and port != DEFAULT_PORTS[scheme] else "")


def browsers_that_fit(*, files_count: bool) -> int:
    """How many browsers fit into four fifths of the memory: the machine's, or the control group's when that is less.

    With `files_count`, a jail's memory limit includes its files, so the usual size of a browser is enough. Otherwise
    each browser may also fill its writable folders.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # the other cgroup version, or "max"
            memory = min(memory, int(Path(path).read_text()))
    return max(1, int(memory * 0.8 / (BROWSER_BYTES + (0 if files_count else WRITABLE_BYTES))))


def _allow(raw: str) -> tuple[AllowRule, ...]:
    try:
        return parse_allow_list(raw)
    except ValueError as error:
        raise ConfigError(f"BROWSA_ALLOW_ADDRESSES: {error}") from error


def _echo_url(raw: str) -> str | None:
    try:
        parts = urlsplit(raw)
        valid = not raw or (parts.scheme in DEFAULT_PORTS and parts.hostname and parts.port != 0 and raw.isascii())
    except ValueError:  # an invalid port or bracket
        valid = False
    if not valid:
        raise ConfigError("EGRESS_ECHO_URL must be an http or https URL that answers with the address of its client")
    return raw or None


def _countries(raw: str) -> Countries:
    try:
        countries = parse_countries(raw)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    for code in countries:
        if code not in PLACES:
            raise ConfigError(f"EGRESS_COUNTRIES: no identity data for country {code!r}")
    return countries
