"""Settings are checked at the start, and a wrong one is named."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from browsa.environment import (
    Environment,
    allowed_addresses,
    celery_broker,
    egress_countries,
    master_keys,
    redis_address,
    runner_address,
)


def test_the_environment_wins_over_the_stacks_file(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(json.dumps({name: "file" for name in ("DATABASE_URL", "REDIS_URL", "OTHER")}))

    env = Environment({"BROWSA_HOME": str(tmp_path), "DATABASE_URL": "given"})

    assert (env.text("DATABASE_URL"), env.text("REDIS_URL")) == ("given", "file")
    assert env.text("OTHER") == "", "only what the stack chose for itself is read from there"


def test_beside_a_stack_its_port_is_known(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(json.dumps({"BROWSA_PORT": "9000"}))
    home = {"BROWSA_HOME": str(tmp_path)}

    assert Environment(home).integer("BROWSA_PORT", 8000) == 9000
    assert Environment({**home, "BROWSA_PORT": "9100"}).integer("BROWSA_PORT", 8000) == 9100


@pytest.mark.parametrize(
    ("given", "value"), [({"OLD": "5"}, 5), ({"OLD": "5", "NEW": "6"}, 6), ({"NEW": "6"}, 6), ({}, 15)]
)
def test_a_setting_is_read_under_its_former_name_too(tmp_path: Path, given: dict[str, str], value: int) -> None:
    env = Environment({"BROWSA_HOME": str(tmp_path), **given})

    assert env.integer("NEW", 15, former="OLD") == value


def test_a_wrong_value_names_the_variable_that_has_it(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="OLD must be"):
        Environment({"BROWSA_HOME": str(tmp_path), "OLD": "x"}).integer("NEW", 15, former="OLD")


def test_what_is_missing_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"DATABASE_URL is not set: run `make up`"):
        Environment({"BROWSA_HOME": str(tmp_path)}).required("DATABASE_URL")


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_stack_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "stack.json").write_text(content)

    with pytest.raises(ImproperlyConfigured, match=r"stack\.json"):
        Environment({"BROWSA_HOME": str(tmp_path)})


def test_switches_are_on_or_off(tmp_path: Path) -> None:
    env = Environment({"BROWSA_HOME": str(tmp_path), "A": "off", "B": "on", "C": "1"})

    assert [env.switch("A", default=True), env.switch("B", default=False), env.switch("D", default=True)] == [
        False,
        True,
        True,
    ]
    with pytest.raises(ImproperlyConfigured, match="C must be on or off"):
        env.switch("C", default=True)


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "99999", " 1", "\u0665"])
def test_numbers_are_checked(tmp_path: Path, text: str) -> None:
    env = Environment({"BROWSA_HOME": str(tmp_path), "N": text})

    with pytest.raises(ImproperlyConfigured, match="N must be a whole number from 0 to 10"):
        env.integer("N", 5, most=10)


def test_invalid_countries_are_a_wrong_setting() -> None:
    with pytest.raises(ImproperlyConfigured, match="EGRESS_COUNTRIES"):
        egress_countries("us")


@pytest.mark.parametrize(
    ("given", "ours", "celerys"),
    [
        ("redis://host:6379/1", "redis://host:6379/1", "redis://host:6379/1"),
        ("unix:///tmp/redis.sock", "unix:///tmp/redis.sock", "redis+socket:///tmp/redis.sock"),
        ("redis+socket:///tmp/redis.sock", "unix:///tmp/redis.sock", "redis+socket:///tmp/redis.sock"),
    ],
)
def test_redis_may_be_named_in_any_spelling(given: str, ours: str, celerys: str) -> None:
    assert redis_address(given) == ours
    assert celery_broker(ours) == celerys


@pytest.mark.parametrize("text", ["host:6379", "http://host", "unix://relative"])
def test_an_invalid_redis_url_is_refused(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="REDIS_URL"):
        redis_address(text)


@pytest.mark.parametrize(
    "text", ["/run/runner.sock", "host:80", "ftp://host", "http://host:80", "unix:run/runner.sock", "unix://run/r"]
)
def test_an_invalid_runner_url_is_refused(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"BROWSA_RUNNER_URL must be unix:/path/runner\.sock"):
        runner_address(text)


@pytest.mark.parametrize("text", ["", "unix:/run/browsa/runner.sock"])
def test_a_runner_is_named_by_its_socket(text: str) -> None:
    assert runner_address(text) == text


def test_exceptions_to_the_address_policy_are_read() -> None:
    (rule,) = allowed_addresses("127.0.0.1:9000")

    assert (str(rule.network), rule.port) == ("127.0.0.1/32", 9000)
    with pytest.raises(ImproperlyConfigured, match="BROWSA_ALLOW_ADDRESSES"):
        allowed_addresses("localhost")


def test_master_keys_are_read_newest_first() -> None:
    new, old = (base64.b64encode(bytes([number]) * 32).decode() for number in (2, 1))

    assert list(master_keys(f"v2:{new}, v1:{old}")) == ["v2", "v1"]
    assert master_keys("") == {}


@pytest.mark.parametrize("text", ["v1", "v1:", "v1:hunter2=", "V 1:" + "A" * 43 + "=", "v1:" + "A" * 40])
def test_an_invalid_master_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="BROWSA_MASTER_KEYS") as refused:
        master_keys(text)

    assert "hunter2" not in str(refused.value)
