"""Reads and checks the operator's settings from the environment. Every error names the setting and its valid values.

The embedded stack writes its own choices (addresses, port, tokens, keys) to `$BROWSA_HOME/stack.json`, so that
`manage.py` works beside a running stack. The environment has priority over that file.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from addresses.egress import Countries, parse_countries
from addresses.policy import AllowRule, parse_allow_list
from apps.billing import offers
from apps.core import ratelimits
from apps.jobs.tasks.llm import prices

STACK_FILE = "stack.json"
STACK_NAMES = frozenset(
    {
        "DATABASE_URL",
        "REDIS_URL",
        "BROWSA_SECRET_KEY",
        "BROWSA_RUNNER_TOKEN",
        "BROWSA_RUNNER_URL",
        "BROWSA_MASTER_KEYS",
        "BROWSA_PORT",
        "SIGNUP_CREDITS",
    }
)


class Environment:
    """The settings as strings, from the environment or else from the stack's file. Raises ImproperlyConfigured."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.home = Path(variables.get("BROWSA_HOME") or ".browsa").absolute()
        self._stack: dict[str, str] = {}
        path = self.home / STACK_FILE
        raw: str | None = None
        with suppress(OSError):
            raw = path.read_text()
        if raw is not None:
            try:
                data = json.loads(raw)
            except ValueError as error:
                raise ImproperlyConfigured(
                    f"{path} is not JSON: {error}. Delete it and run `make up` again."
                ) from error
            if not isinstance(data, dict):
                raise ImproperlyConfigured(f"{path} must hold a JSON object. Delete it and run `make up` again.")
            self._stack = {str(name): str(value) for name, value in data.items()}

    def text(self, name: str, default: str = "") -> str:
        value = self._variables.get(name, "")
        if not value and name in STACK_NAMES:
            value = self._stack.get(name, "")
        return value or default

    def required(self, name: str) -> str:
        value = self.text(name)
        if not value:
            raise ImproperlyConfigured(f"{name} is not set: run `make up` first, or set {name}.")
        return value

    def integer(self, name: str, default: int, *, least: int = 0, most: int = 1_000_000_000, former: str = "") -> int:
        """`former` is an older name of the setting. It is read where `name` is not set."""
        if former and not self.text(name):
            name = former
        text = self.text(name, str(default))
        if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
            raise ImproperlyConfigured(f"{name} must be a whole number from {least} to {most}, not {text!r}.")
        return int(text)

    def switch(self, name: str, *, default: bool) -> bool:
        text = self.text(name, "on" if default else "off")
        if text not in ("on", "off"):
            raise ImproperlyConfigured(f"{name} must be on or off, not {text!r}.")
        return text == "on"

    def url(self, name: str, default: str, *, schemes: frozenset[str]) -> str:
        """An absolute URL without a trailing slash."""
        text = self.text(name, default).rstrip("/")
        parts = urlsplit(text)
        if parts.scheme not in schemes or not parts.netloc:
            raise ImproperlyConfigured(f"{name} must be a URL with one of {sorted(schemes)}, not {text!r}.")
        return text


def egress_countries(text: str) -> Countries:
    try:
        return parse_countries(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"{error}.") from error


def model_prices(text: str) -> prices.PriceTable:
    try:
        return prices.parse(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"BROWSA_MODEL_PRICES must be JSON: {error}.") from error


def rate_limits(text: str) -> ratelimits.Table | None:
    """The rate table with the operator's changes; None when rate limits are off."""
    try:
        return ratelimits.parse(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"BROWSA_RATE_LIMITS must be off or JSON: {error}.") from error


def credit_price(text: str) -> Decimal:
    """The price of one credit, in the currency's smallest unit."""
    try:
        return offers.parse_price(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"CREDIT_PRICE {error}.") from error


def credit_currency(text: str) -> str:
    try:
        return offers.parse_currency(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"CREDIT_CURRENCY {error}.") from error


def credit_packs(text: str) -> Mapping[str, offers.Offer]:
    """Packs of credits with a fixed price, by name."""
    try:
        return offers.parse_packs(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"CREDIT_PACKS must be JSON: {error}.") from error


def allowed_addresses(text: str) -> tuple[AllowRule, ...]:
    """The operator's exceptions to the address policy. `runner.config` reads the same setting for browsers."""
    try:
        return parse_allow_list(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"BROWSA_ALLOW_ADDRESSES: {error}.") from error


def master_keys(text: str) -> dict[str, bytes]:
    """`v2:<base64 of 32 bytes>,v1:…`, the newest first: it seals, the others can still open values."""
    keys: dict[str, bytes] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        version, _, encoded = item.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if not re.fullmatch(r"[a-z0-9]{1,16}", version) or len(key) != 32 or version in keys:
            # The message must not contain the keys.
            raise ImproperlyConfigured(
                "BROWSA_MASTER_KEYS must be version:base64 of 32 bytes, comma-separated, each version once."
            )
        keys[version] = key
    return keys


def redis_address(text: str) -> str:
    """The URL for redis-py: `redis://…`, `rediss://…` or `unix:///path`."""
    text = re.sub(r"^redis\+socket://", "unix://", text)
    if not re.match(r"^(rediss?://[^/]|unix:///)", text):
        raise ImproperlyConfigured("REDIS_URL must be redis://host:port/db, rediss://… or unix:///path.sock.")
    return text


def celery_broker(redis_url: str) -> str:
    """The URL of the same server for Celery, which has another scheme for Unix sockets."""
    return re.sub(r"^unix://", "redis+socket://", redis_url)


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """`tls`: TLS from the start of the connection; otherwise STARTTLS."""

    host: str = "localhost"
    port: int = 587
    user: str = ""
    password: str = ""
    tls: bool = False


def smtp_server(text: str) -> SmtpServer:
    """`smtp://user:password@host:587` (STARTTLS when there is a user) or `smtps://…`."""
    if not text:
        return SmtpServer()
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in ("smtp", "smtps"):
        # The message must not contain the URL, which may hold a password.
        raise ImproperlyConfigured("BROWSA_SMTP_URL must be smtp://[user:password@]host[:port] or smtps://…")
    tls = parts.scheme == "smtps"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return SmtpServer(host, port or (465 if tls else 587), user, password, tls)


def runner_address(text: str) -> str:
    """`unix:/path/runner.sock`, where a runner serves its control API; empty when no runner is known yet."""
    if text and not re.match(r"^unix:/[^/]", text):
        raise ImproperlyConfigured(
            "BROWSA_RUNNER_URL must be unix:/path/runner.sock: the control API is a Unix socket."
        )
    return text
