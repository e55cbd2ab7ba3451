"""Settings: what is wrong is named, and a password in it is not repeated."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runner.cgroups import Limits
from runner.config import PAGE_BYTES, ConfigError, RunnerConfig

SOME_BROWSER = Path(sys.executable).resolve()  # any native program will do: nothing is started here


def config(**settings: str) -> RunnerConfig:
    return RunnerConfig.from_env({"BROWSA_CHROMIUM": str(SOME_BROWSER), "PATH": "/nowhere", **settings})


def test_every_setting_has_a_default() -> None:
    made = config()

    assert made.home == Path(".browsa").absolute()
    assert made.control_socket == made.home / "runner.sock"
    assert (made.gateway_host, made.gateway_port) == ("127.0.0.1", 8001)
    assert made.public_cdp_url == "ws://127.0.0.1:8001"
    assert (made.jail, made.pool_size, made.countries, made.allow) == ("bwrap", 4, {"us": "direct"}, ())
    assert made.origins == frozenset()


def test_the_gateways_port_follows_the_apis_unless_it_is_given() -> None:
    assert config(BROWSA_PORT="9000").gateway_port == 9001
    assert config(BROWSA_PORT="9000", BROWSA_GATEWAY_PORT="7000").gateway_port == 7000


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("", "http://127.0.0.1:9000"),
        ("https://Browsa.Example", "https://browsa.example"),
        ("https://browsa.example:443/", "https://browsa.example"),
        ("https://browsa.example:8443/below/a/path", "https://browsa.example:8443"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_the_live_views_page_has_the_origin_of_the_public_address(url: str, origin: str) -> None:
    assert config(BROWSA_PORT="9000", BROWSA_PUBLIC_URL=url).page_origin == origin


def test_empty_settings_are_those_that_were_not_given() -> None:
    made = config(BROWSA_PORT="", EGRESS_COUNTRIES="", BROWSA_ALLOW_ADDRESSES="", BROWSA_POOL_SIZE="")

    assert (made.gateway_port, made.pool_size, made.countries, made.allow) == (8001, 4, {"us": "direct"}, ())


def test_the_pool_always_fits_the_limit_that_memory_gives() -> None:
    assert config(BROWSA_POOL_SIZE="5000").limit(files_count=True) >= 5000


def test_what_a_browser_may_write_counts_where_the_kernel_does_not_bound_it_with_the_rest() -> None:
    made = config(BROWSA_POOL_SIZE="0")

    assert made.limit(files_count=False) < made.limit(files_count=True)
    assert config(BROWSA_MAX_BROWSERS="3").limit(files_count=False) == 3


def test_the_headless_shell_may_take_more_for_each_slot() -> None:
    one, two = (config(BROWSA_PAGE_PLACES=str(places)).shell_limits for places in (1, 2))

    assert config(BROWSA_BROWSER_MEMORY_MIB="512", BROWSA_BROWSER_PIDS="256").browser_limits == Limits(2**29, 256, 200)
    assert two.memory - one.memory == PAGE_BYTES
    assert two.pids > one.pids > config().browser_limits.pids
    assert config(BROWSA_PAGE_PLACES="1000000").shell_limits.cpu_weight == 10_000


def test_the_first_country_is_the_first_that_was_written() -> None:
    made = config(EGRESS_COUNTRIES='{"de": "direct", "us": "socks5://user:secret@proxy.example:1080"}')

    assert next(iter(made.countries)) == "de"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BROWSA_JAIL", "none"),
        ("BROWSA_PUBLIC_URL", "browsa.example"),
        ("BROWSA_PUBLIC_URL", "ws://browsa.example"),
        ("BROWSA_PUBLIC_URL", "https://browsa.example:99999"),
        ("BROWSA_PUBLIC_URL", "https://[browsa.example"),
        ("BROWSA_JAIL", "OFF"),
        ("BROWSA_CGROUPS", "v2"),
        ("BROWSA_BROWSER_MEMORY_MIB", "511"),
        ("BROWSA_BROWSER_PIDS", "255"),
        ("BROWSA_BROWSER_CPU_WEIGHT", "10001"),
        ("BROWSA_PORT", "eight"),
        ("BROWSA_PORT", "65535"),  # the gateway's would be 65536
        ("BROWSA_GATEWAY_PORT", "0"),
        ("BROWSA_GATEWAY_PORT", "70000"),
        ("BROWSA_GATEWAY_PORT", "-1"),
        ("BROWSA_POOL_SIZE", "1.5"),
        ("BROWSA_POOL_SIZE", "٣"),
        ("BROWSA_MAX_BROWSERS", "0"),
        ("BROWSA_DRAIN_SECONDS", "soon"),
        ("BROWSA_RUNNER_ID", "r-1"),
        ("BROWSA_RUNNER_ID", "r/1"),
        ("BROWSA_RUNNER_ID", "rä"),
        ("BROWSA_RUNNER_ID", ""),
        ("BROWSA_ALLOW_ADDRESSES", "localhost:80"),
        ("BROWSA_ALLOW_ADDRESSES", "127.0.0.1:80;10.0.0.1"),
        ("EGRESS_COUNTRIES", "us"),
        ("EGRESS_COUNTRIES", '{"xx": "direct"}'),
        ("EGRESS_COUNTRIES", '{"us": []}'),
    ],
)
def test_a_senseless_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match="BROWSA_GATEWAY_PORT|BROWSA_PORT" if name == "BROWSA_PORT" else name):
        config(**{name: value})


@pytest.mark.parametrize("url", ["ftp://me:hunter2@proxy.example:1", "http://me:hunter2@proxy.example:99999"])
def test_a_proxys_password_is_in_no_message(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(EGRESS_COUNTRIES=f'{{"us": "{url}"}}')

    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None or "hunter2" not in str(caught.value.__cause__)


def test_a_machine_without_chromium_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.config.find_chromium", lambda env: None)

    with pytest.raises(ConfigError, match=r"install one .* or set BROWSA_CHROMIUM"):
        RunnerConfig.from_env({})


def test_a_named_chromium_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    with pytest.raises((ConfigError, OSError), match="BROWSA_CHROMIUM"):
        config(BROWSA_CHROMIUM=str(tmp_path / "chromium"))
