"""A stack's configuration: `stack.json` with the generated secrets, and the environments of its processes."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from stack.home import Home, StackError

RUNNER_ID = "r1"

# Only Django's processes get these. The runner, which handles hostile pages, does not.
_DJANGO_ONLY = frozenset(
    {
        *("BROWSA_SECRET_KEY", "BROWSA_MASTER_KEYS", "DATABASE_URL", "REDIS_URL"),
        *("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"),
    }
)

# Generated at the first start and kept. Losing one ends all sessions or makes sealed data unreadable.
_GENERATED: dict[str, Callable[[], str]] = {
    "BROWSA_SECRET_KEY": lambda: secrets.token_urlsafe(48),
    "BROWSA_RUNNER_TOKEN": lambda: secrets.token_urlsafe(32),
    "BROWSA_MASTER_KEYS": lambda: "v1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
}


# Many container images set it. Without compiled modules every start takes 10 CPU seconds instead of 4.
_UNWANTED = frozenset({"PYTHONDONTWRITEBYTECODE"})


def port(environ: Mapping[str, str]) -> int:
    """`BROWSA_PORT`, validated. The gateway uses the next port."""
    text = environ.get("BROWSA_PORT") or "8000"
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65534):
        raise StackError(f"BROWSA_PORT must be a whole number from 1 to 65534, not {text!r}.")
    return int(text)


def drain_seconds(environ: Mapping[str, str]) -> int:
    """`BROWSA_DRAIN_SECONDS`, validated by the same rule as in the runner."""
    text = environ.get("BROWSA_DRAIN_SECONDS") or "20"
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) > 10**9:
        raise StackError(f"BROWSA_DRAIN_SECONDS must be a whole number from 0 to {10**9}, not {text!r}.")
    return int(text)


def compose(
    kept: Mapping[str, str], environ: Mapping[str, str], home: Home, port: int, embedded: Mapping[str, str]
) -> dict[str, str]:
    """The content of `stack.json`. The environment takes precedence, then the kept value, then a generated one."""
    generated = {name: environ.get(name) or kept.get(name) or make() for name, make in _GENERATED.items()}
    servers = {name: environ.get(name) or url for name, url in embedded.items()}
    return {
        **generated,
        **servers,
        "BROWSA_RUNNER_URL": f"unix:{home.runner_socket}",
        "BROWSA_GATEWAY_URL": f"ws://127.0.0.1:{port + 1}",
        "BROWSA_PORT": str(port),
        # For `manage.py create_workspace` in a shell that does not have the setting.
        "SIGNUP_CREDITS": environ.get("SIGNUP_CREDITS", ""),
    }


def django_environment(environ: Mapping[str, str], stack: Mapping[str, str], home: Home) -> dict[str, str]:
    return {
        **{name: value for name, value in environ.items() if name not in _UNWANTED},
        **stack,
        "BROWSA_HOME": str(home.path),
        "DJANGO_SETTINGS_MODULE": "browsa.settings",
        "PYTHONUNBUFFERED": "1",
    }


def runner_environment(environ: Mapping[str, str], stack: Mapping[str, str], home: Home) -> dict[str, str]:
    port = int(stack["BROWSA_PORT"])
    given = {name: value for name, value in environ.items() if name not in _DJANGO_ONLY | _UNWANTED}
    return {
        **given,
        "BROWSA_HOME": str(home.path),
        "BROWSA_PORT": str(port),
        "BROWSA_RUNNER_ID": RUNNER_ID,
        "BROWSA_RUNNER_SOCKET": str(home.runner_socket),
        "BROWSA_RUNNER_TOKEN": stack["BROWSA_RUNNER_TOKEN"],
        "BROWSA_GATEWAY_PORT": str(port + 1),
        "BROWSA_REPORT_URL": f"http://127.0.0.1:{port}/internal/runner/report",
        "PYTHONUNBUFFERED": "1",
    }


def read_json(path: Path) -> dict[str, str]:
    """Read a flat JSON object of strings. Empty when there is no such file. Raises StackError if it is damaged."""
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StackError(f"{path} is damaged ({error}). Restore it: it holds the keys of your data.") from error
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise StackError(f"{path} is damaged. Restore it: it holds the keys of your data.")
    return data


def write_json(path: Path, data: Mapping[str, object], *, durable: bool = True) -> None:
    """Write atomically, with mode 600. `durable` also syncs to disk: the file may hold the only copy of the keys."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "w") as stream:
        json.dump(data, stream, indent=2)
        stream.write("\n")
        stream.flush()
        if durable:
            os.fsync(stream.fileno())
    unfinished.replace(path)
