"""As much of Stripe as buying credits needs, over real HTTP: Checkout Sessions, idempotency keys, signed events.

Bodies are form-encoded with nested names, errors have Stripe's shape, and `Stripe-Signature` is made as documented at
https://docs.stripe.com/webhooks/signature, not by the library that checks it.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

SECRET_KEY = "sk_test_tests"
WEBHOOK_SECRET = "whsec_tests"


class FakeStripe:
    """`with FakeStripe() as stripe:` serves on 127.0.0.1. `mood` is what happens to the next requests:

    "" answers; "error" 500; "rate" 429; "drop" does the work and hangs up; "small" says that the amount is too small;
    "garbled" answers no JSON.
    """

    def __init__(self) -> None:
        self.mood = ""
        self.sessions: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self._answers: dict[str, tuple[dict[str, str], dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.stripe = self  # type: ignore[attr-defined]
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeStripe:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    # --- What a payer, or time, does -----------------------------------------------------------------------------
    def pay(self, session_id: str, *, delayed: bool = False) -> dict[str, Any]:
        session = self.sessions[session_id]
        status = "unpaid" if delayed else "paid"
        session.update(status="complete", payment_status=status, payment_intent=f"pi_{session_id}", url=None)
        return session

    def expire(self, session_id: str) -> dict[str, Any]:
        self.sessions[session_id].update(status="expired", url=None)
        return self.sessions[session_id]

    def charge(self, session_id: str, refunded: int, **changes: Any) -> dict[str, Any]:
        """The session's charge, of which so much was paid back in all."""
        session = self.sessions[session_id]
        return {
            "id": f"ch_{session_id}",
            "object": "charge",
            "amount": session["amount_total"],
            "amount_refunded": refunded,
            "currency": session["currency"],
            "metadata": session["_payment_metadata"],
            "payment_intent": f"pi_{session_id}",
            **changes,
        }

    def event(self, type: str, about: dict[str, Any]) -> bytes:
        shown = {name: value for name, value in about.items() if not name.startswith("_")}
        number = next(self._numbers)
        return json.dumps(
            {"id": f"evt_{number}", "object": "event", "type": type, "data": {"object": shown}}, indent=2
        ).encode()

    # --- The API -------------------------------------------------------------------------------------------------
    def answer(self, method: str, path: str, headers: Any, raw: bytes) -> tuple[int, dict[str, Any]]:
        self.requests.append((method, path))
        if headers.get("Authorization") != f"Bearer {SECRET_KEY}":
            return 401, _error("invalid_request_error", "Invalid API Key provided: sk_test_****")
        if self.mood in ("error", "rate"):
            kind = "api_error" if self.mood == "error" else "rate_limit_error"
            return (500 if self.mood == "error" else 429), _error(kind, "not now")
        with self._lock:
            if (method, path) == ("POST", "/v1/checkout/sessions"):
                return self._create(dict(parse_qsl(raw.decode())), headers.get("Idempotency-Key", ""))
            if method == "GET" and path.removeprefix("/v1/checkout/sessions/") in self.sessions:
                return 200, self.sessions[path.removeprefix("/v1/checkout/sessions/")]
        return 404, _error("invalid_request_error", "No such checkout.session", code="resource_missing")

    def _create(self, params: dict[str, str], key: str) -> tuple[int, dict[str, Any]]:
        if key in self._answers:
            before, session = self._answers[key]
            if before != params:
                return 400, _error("idempotency_error", "Keys for idempotent requests can only be used …")
            return 200, session
        if self.mood == "small":
            message = "The Checkout Session's total amount due must add up to at least $0.50 usd"
            return 400, _error("invalid_request_error", message, code="amount_too_small")
        form = _nested(params)
        item = form["line_items"]["0"]
        session_id = f"cs_test_{next(self._numbers)}"
        session = {
            "id": session_id,
            "object": "checkout.session",
            "mode": form["mode"],
            "amount_total": int(item["quantity"]) * int(item["price_data"]["unit_amount"]),
            "currency": item["price_data"]["currency"],
            "client_reference_id": form["client_reference_id"],
            "metadata": form["metadata"],
            "payment_intent": None,
            "payment_status": "unpaid",
            "status": "open",
            "url": f"https://checkout.stripe.com/c/pay/{session_id}",
            "success_url": form["success_url"],
            "cancel_url": form["cancel_url"],
            "_payment_metadata": form["payment_intent_data"]["metadata"],
        }
        self.sessions[session_id] = session
        self._answers[key] = (params, session)
        return 200, session


def signature(body: bytes, *, secret: str = WEBHOOK_SECRET, at: float | None = None) -> str:
    timestamp = int(time.time() if at is None else at)
    mac = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={mac}"


def _error(type: str, message: str, *, code: str | None = None) -> dict[str, Any]:
    return {"error": {"type": type, "message": message, **({"code": code} if code else {})}}


def _nested(params: dict[str, str]) -> dict[str, Any]:
    """`a[b][0]=x` as dictionaries."""
    form: dict[str, Any] = {}
    for name, value in params.items():
        first, *rest = re.findall(r"[^\[\]]+", name)
        path, at = [first, *rest], form
        for part in path[:-1]:
            at = at.setdefault(part, {})
        at[path[-1]] = value
    return form


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        self._do()

    def do_GET(self) -> None:
        self._do()

    def _do(self) -> None:
        stripe: FakeStripe = self.server.stripe  # type: ignore[attr-defined]
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, body = stripe.answer(self.command, urlsplit(self.path).path, self.headers, raw)
        if stripe.mood == "drop":
            self.close_connection = True
            return
        shown = {name: value for name, value in body.items() if not name.startswith("_")}
        content = b"<html>" if stripe.mood == "garbled" else json.dumps(shown).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Request-Id", "req_fake")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
