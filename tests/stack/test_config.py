from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from stack import config
from stack.home import Home, StackError
from stack.services import applications

HOME = Home(Path("/data/browsa"), Path("/run/b"))
EMBEDDED = {"DATABASE_URL": "postgresql://embedded", "REDIS_URL": "unix:///run/b/redis.sock"}


def composed(kept: dict[str, str] | None = None, environ: dict[str, str] | None = None) -> dict[str, str]:
    return config.compose(kept or {}, environ or {}, HOME, 8000, EMBEDDED)


def test_a_new_stack_generates_its_secrets() -> None:
    first, second = composed(), composed()

    assert first["BROWSA_SECRET_KEY"] != second["BROWSA_SECRET_KEY"]
    version, _, key = first["BROWSA_MASTER_KEYS"].partition(":")
    assert version == "v1"
    assert len(base64.b64decode(key)) == 32


def test_secrets_are_kept_and_addresses_follow_the_home_and_port() -> None:
    kept = {**composed(), "BROWSA_PORT": "1", "DATABASE_URL": "postgresql://moved"}

    again = composed(kept)

    assert again["BROWSA_MASTER_KEYS"] == kept["BROWSA_MASTER_KEYS"]
    assert again["BROWSA_PORT"] == "8000"
    assert again["DATABASE_URL"] == EMBEDDED["DATABASE_URL"]
    assert again["BROWSA_RUNNER_URL"] == "unix:/run/b/runner.sock"


def test_the_environment_takes_precedence() -> None:
    environ = {"DATABASE_URL": "postgresql://mine", "BROWSA_SECRET_KEY": "mine"}

    stack = composed({"BROWSA_SECRET_KEY": "kept"}, environ)

    assert (stack["DATABASE_URL"], stack["BROWSA_SECRET_KEY"]) == ("postgresql://mine", "mine")


def test_the_runner_gets_none_of_djangos_secrets() -> None:
    stack = composed()
    environ = {"DATABASE_URL": "postgresql://u:secret@db/x", "PATH": "/bin", "BROWSA_POOL_SIZE": "2"}

    runner = config.runner_environment(environ, stack, HOME)

    told = json.dumps(runner)
    assert "secret@db" not in told
    assert stack["BROWSA_MASTER_KEYS"] not in told
    assert stack["BROWSA_SECRET_KEY"] not in told
    assert runner["BROWSA_POOL_SIZE"] == "2"
    assert runner["BROWSA_GATEWAY_PORT"] == "8001"
    assert runner["BROWSA_REPORT_URL"] == "http://127.0.0.1:8000/internal/runner/report"


def test_django_gets_an_absolute_home_and_the_whole_stack() -> None:
    stack = composed()

    django = config.django_environment({"BROWSA_HOME": ".browsa"}, stack, HOME)

    assert django["BROWSA_HOME"] == "/data/browsa"
    assert stack.items() <= django.items()


@pytest.mark.parametrize("text", ["0", "65535", "-1", "eight", "80 00", "٨٠٠٠"])
def test_a_port_that_leaves_no_room_for_the_gateways_is_refused(text: str) -> None:
    with pytest.raises(StackError, match="BROWSA_PORT"):
        config.port({"BROWSA_PORT": text})


def test_the_port_is_8000_unless_set() -> None:
    assert config.port({}) == 8000
    assert config.port({"BROWSA_PORT": "9000"}) == 9000


def test_json_is_written_atomically_and_private(tmp_path: Path) -> None:
    config.write_json(tmp_path / "stack.json", {"a": "b"})
    config.write_json(tmp_path / "stack.json", {"a": "c"})

    assert config.read_json(tmp_path / "stack.json") == {"a": "c"}
    assert (tmp_path / "stack.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["stack.json"]


def test_a_missing_file_is_empty_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    assert config.read_json(path) == {}

    for damage in ("{", "[]", '{"BROWSA_PORT": 1}'):
        path.write_text(damage)
        with pytest.raises(StackError, match="damaged"):
            config.read_json(path)


@pytest.mark.parametrize("text", ["abc", "-1", "1.5", "1e3", "inf", "nan", " 1", "٢٠", "1000000001", "1" * 5000])
def test_a_drain_that_is_not_a_whole_number_is_refused(text: str) -> None:
    with pytest.raises(StackError, match="BROWSA_DRAIN_SECONDS must be a whole number from 0"):
        applications(8000, {}, {"BROWSA_DRAIN_SECONDS": text})


@pytest.mark.parametrize(("text", "seconds"), [("", 20), ("0", 0), ("90", 90), ("1000000000", 10**9)])
def test_drain_seconds_are_read(text: str, seconds: int) -> None:
    assert config.drain_seconds({"BROWSA_DRAIN_SECONDS": text}) == seconds
