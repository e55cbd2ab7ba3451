"""What all answers have: request ids, and JSON with the error envelope also after an exception."""

from __future__ import annotations

import uuid

import pytest

from apps.core import errors
from tests.cast import Member, Reply, call

pytestmark = pytest.mark.django_db


def assert_envelope(reply: Reply, status: int, code: str) -> None:
    assert (reply.status, reply.code) == (status, code)
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.body["request_id"] == reply.headers["X-Request-Id"]
    assert reply.body["error"]


def test_a_path_that_does_not_exist_is_404_with_or_without_a_key(alice: Member) -> None:
    for path in (
        "/",
        "/nope",
        "/v1",
        "/v1/",
        "/v1/agents/",
        "/v1/nope",
        "/internal/",
        "/v1/agents/x/y/z",
        "/%00",
        "//",
    ):
        assert_envelope(call("GET", path), 404, "NOT_FOUND")
        assert_envelope(alice.get(path), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/agents", "GET, POST, HEAD"),
        ("OPTIONS", "/v1/agents", "GET, POST, HEAD"),
        ("PATCH", "/v1/keys/x", "DELETE"),
        ("DELETE", "/v1/credits", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("GET", "/internal/runner/report", "POST"),
    ],
)
def test_a_wrong_method_is_405_and_names_the_right_ones(alice: Member, method: str, path: str, allow: str) -> None:
    reply = call(method, path, key=alice.secret)

    assert_envelope(reply, 405, "METHOD_NOT_ALLOWED")
    assert reply.headers["Allow"] == allow


def test_every_answer_has_a_request_id(alice: Member) -> None:
    ids = [alice.get(path).headers["X-Request-Id"] for path in ("/v1/agents", "/nope", "/healthz", "/docs")]

    assert len(set(ids)) == 4
    assert all(uuid.UUID(request_id) for request_id in ids)


@pytest.mark.parametrize("request_id", ["a", "req_01HQ8Z", "A.b-c_9", "x" * 128])
def test_a_valid_request_id_of_the_client_comes_back(request_id: str) -> None:
    for path in ("/healthz", "/nope"):
        assert call("GET", path, headers={"X-Request-Id": request_id}).headers["X-Request-Id"] == request_id


@pytest.mark.parametrize("request_id", ["", "x" * 129, "a b", "a\tb", "é", "<script>", "a,b"])
def test_any_other_is_replaced(request_id: str) -> None:
    answered = call("GET", "/healthz", headers={"X-Request-Id": request_id}).headers["X-Request-Id"]

    assert uuid.UUID(answered)


def test_a_body_over_a_mebibyte_is_413(alice: Member) -> None:
    reply = call("POST", "/v1/agents", key=alice.secret, content=b" " * (1024 * 1024 + 1))

    assert_envelope(reply, 413, "PAYLOAD_TOO_LARGE")


def test_a_bug_is_a_500_that_tells_nothing(alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**kwargs: object) -> None:
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr("apps.agents.selectors.agents", broken)

    reply = alice.get("/v1/agents")

    assert_envelope(reply, 500, "INTERNAL_ERROR")
    assert b"secret detail" not in reply.content


def test_a_bug_outside_the_api_views_is_a_500_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr("apps.core.health.run_checks", broken)

    reply = call("GET", "/readyz")

    assert_envelope(reply, 500, "INTERNAL_ERROR")
    assert b"secret detail" not in reply.content


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/*;q=0.1", "nonsense"])
def test_the_api_answers_json_whatever_is_accepted(alice: Member, accept: str) -> None:
    reply = alice.get("/v1/agents", Accept=accept)

    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")


def test_pages_for_people_stay_html() -> None:
    assert call("GET", "/docs").headers["Content-Type"].startswith("text/html")
    assert call("GET", "/admin/login/").headers["Content-Type"].startswith("text/html")
    assert call("GET", "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js").status == 200


def test_each_error_names_itself_once() -> None:
    def kinds(parent: type[errors.ApiError]) -> list[type[errors.ApiError]]:
        return [kind for child in parent.__subclasses__() for kind in (child, *kinds(child))]

    named = [kind for kind in kinds(errors.ApiError) if not kind.__name__.startswith("_")]
    codes = [kind.code for kind in named if "code" in vars(kind)]  # a special case has its parent's

    assert len(codes) == len(set(codes))
    assert all(kind.__doc__ for kind in named)
