"""Idempotency-Key: what a repeat gets, what isn't kept, and who may execute."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.accounts.models import ApiKey, Workspace
from apps.agents.models import Agent
from apps.billing import services as billing
from apps.billing.verification import problems
from apps.core import idempotency
from apps.core import idempotency_records as records
from apps.core.errors import IdempotencyInProgress, IdempotencyKeyReused
from apps.core.idempotency import KeyedExecution, StoredResponse, Unresolved, bind, executing, takes_key
from apps.core.models import IdempotencyKey
from runner.wire import LeaseRequest
from tests.cast import Member, at_once, call, join
from tests.fakes.runner import Behaviour, FakeRunner

pytestmark = pytest.mark.django_db

KEY = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
NOW = datetime(2026, 6, 6, 12, tzinfo=UTC)


def test_a_repeat_gets_the_same_bytes_and_begins_nothing(alice: Member, runner: FakeRunner) -> None:
    first = alice.post_once("/v1/agents", {"ttl": "10m"}, KEY)
    alice.delete(f"/v1/agents/{first.body['id']}")

    again = alice.post_once("/v1/agents", {"ttl": "10m"}, KEY)

    assert (again.status, again.content) == (201, first.content)
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert again.headers["Idempotent-Replay"] == "true"
    assert "Idempotent-Replay" not in first.headers
    assert again.headers["X-Request-Id"] != first.headers["X-Request-Id"]
    assert len(runner.requests) == Agent.objects.count() == 1


def test_a_key_that_was_minted_is_shown_again_to_the_same_request(alice: Member) -> None:
    first, again = (alice.post_once("/v1/keys", {"name": "ci"}, KEY) for _ in range(2))

    assert (first.status, again.content) == (201, first.content)
    assert ApiKey.objects.filter(name="ci").count() == 1
    assert call("GET", "/v1/agents", key=again.body["secret"]).status == 200


def test_another_body_is_422_and_changes_nothing(alice: Member, runner: FakeRunner) -> None:
    first = alice.post_once("/v1/agents", {"ttl": "10m"}, KEY)

    other = alice.post_once("/v1/agents", {"ttl": "11m"}, KEY)

    assert (other.status, other.code) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert alice.post_once("/v1/agents", {"ttl": "10m"}, KEY).content == first.content
    assert Agent.objects.count() == 1


def test_another_query_is_another_request(alice: Member) -> None:
    """Or a repeat with `?async=true`, or with a query that is refused, would get the answer of another request."""
    first = alice.post_once("/v1/keys?a=1", {"name": "x"}, KEY)

    assert alice.post_once("/v1/keys?a=2", {"name": "x"}, KEY).code == "IDEMPOTENCY_KEY_REUSED"
    assert alice.post_once("/v1/keys?a=1", {"name": "x"}, KEY).content == first.content


def test_a_key_belongs_to_its_workspace_and_path(alice: Member, bob: Member, runner: FakeRunner) -> None:
    replies = [
        alice.post_once("/v1/agents", {"name": "x"}, KEY),
        bob.post_once("/v1/agents", {"name": "x"}, KEY),
        alice.post_once("/v1/keys", {"name": "x"}, KEY),
        alice.post_once("/v1/agents", {"name": "x"}, KEY + "2"),
    ]

    assert [reply.status for reply in replies] == [201] * 4
    assert len({reply.content for reply in replies}) == 4


def test_a_workspaces_keys_share_their_idempotency_keys(alice: Member, runner: FakeRunner) -> None:
    other = Member(alice.workspace, alice.post("/v1/keys", {"name": "other"}).body["secret"])

    assert alice.post_once("/v1/agents", {}, KEY).content == other.post_once("/v1/agents", {}, KEY).content


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "é", "a\x7f"])
def test_a_key_is_1_to_255_printable_ascii_characters(alice: Member, runner: FakeRunner, key: str) -> None:
    reply = alice.post_once("/v1/agents", {}, key)

    assert (reply.status, reply.code) == (400, "BAD_REQUEST")
    assert not runner.requests


@pytest.mark.parametrize("key", ["0", "x" * 255, "a b", '~!"#'])
def test_any_other_key_will_do(alice: Member, runner: FakeRunner, key: str) -> None:
    assert alice.post_once("/v1/agents", {}, key).status == 201


def test_reads_and_calls_that_create_nothing_ignore_it(alice: Member) -> None:
    assert alice.get("/v1/agents", **{"Idempotency-Key": "x" * 300}).status == 200
    assert not IdempotencyKey.objects.exists()


def test_what_never_began_may_be_tried_again(alice: Member, runner: FakeRunner) -> None:
    assert alice.post_once("/v1/agents", {"ttl": 1}, KEY).status == 400
    assert call("POST", "/v1/agents", key=alice.secret, content=b"{", headers={"Idempotency-Key": KEY}).status == 400
    assert (
        call(
            "POST",
            "/v1/agents",
            key=alice.secret,
            content=b"a=1",
            content_type="text/plain",
            headers={"Idempotency-Key": KEY},
        ).status
        == 415
    )
    Workspace.objects.filter(id=alice.workspace.id).update(max_burners=0)
    assert alice.post_once("/v1/agents", {}, KEY).status == 429
    Workspace.objects.filter(id=alice.workspace.id).update(max_burners=5)
    billing.hold(workspace_id=alice.workspace.id, amount=100, reference="all", source=billing.Source())
    assert alice.post_once("/v1/agents", {}, KEY).status == 402
    billing.settle(workspace_id=alice.workspace.id, reference="all", used=0)

    assert alice.post_once("/v1/agents", {}, KEY).status == 201
    assert Agent.objects.count() == 1


@pytest.mark.parametrize(("behaviour", "status"), [("no_browser", 504), ("error", 502)])
def test_what_began_is_kept_however_it_ended(
    alice: Member, runner: FakeRunner, behaviour: Behaviour, status: int
) -> None:
    runner.behaviour = behaviour
    first = alice.post_once("/v1/agents", {}, KEY)
    runner.behaviour = "lease"

    again = alice.post_once("/v1/agents", {}, KEY)

    assert (first.status, again.status, again.content) == (status, status, first.content)
    assert Agent.objects.count() == 1


def test_a_bug_in_a_transaction_leaves_nothing(alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.accounts import serializers

    with monkeypatch.context() as broken:
        broken.setattr(serializers, "minted_body", lambda minted: 1 / 0)
        assert alice.post_once("/v1/keys", {"name": "ci"}, KEY).status == 500
    assert not ApiKey.objects.filter(name="ci").exists()

    assert alice.post_once("/v1/keys", {"name": "ci"}, KEY).status == 201


@pytest.mark.django_db(transaction=True)
def test_while_it_runs_a_repeat_is_told_to_wait(runner: FakeRunner) -> None:
    alice = join("alice")
    meanwhile = []

    def repeat(request: LeaseRequest) -> None:
        meanwhile.extend(at_once(1, lambda _: alice.post_once("/v1/agents", {}, KEY)))

    runner.before_lease = repeat

    first = alice.post_once("/v1/agents", {}, KEY)

    (waiting,) = meanwhile
    assert (waiting.status, waiting.code) == (409, "IDEMPOTENCY_IN_PROGRESS")
    assert waiting.headers["Retry-After"] == "1"
    assert alice.post_once("/v1/agents", {}, KEY).content == first.content


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("path", "body"), [("/v1/agents", {}), ("/v1/keys", {"name": "ci"})])
def test_fifty_at_once_execute_once(runner: FakeRunner, path: str, body: dict[str, str]) -> None:
    alice = join("alice")

    replies = at_once(50, lambda _: alice.post_once(path, body, KEY))

    assert {reply.status for reply in replies} <= {201, 409}
    assert len({reply.content for reply in replies if reply.status == 201}) == 1
    assert alice.post_once(path, body, KEY).status == 201
    assert Agent.objects.count() + ApiKey.objects.filter(name="ci").count() == 1
    assert list(problems()) == []


def test_the_store_holds_no_request_body_and_no_bare_hash_of_it(alice: Member, runner: FakeRunner) -> None:
    import hashlib

    body = {"initial_url": "https://example.com/", "secret": "hunter2"}
    alice.post_once("/v1/agents", body, KEY)

    row = json.dumps(
        IdempotencyKey.objects.values().get(),
        default=lambda value: bytes(value).hex() if isinstance(value, memoryview) else str(value),
    )
    assert "hunter2" not in row
    assert KEY not in row
    assert hashlib.sha256(json.dumps(body).encode()).hexdigest() not in row


def statements(alice: Member, **headers: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert alice.post("/v1/agents", {}, **headers).status == 201
    return [query["sql"] for query in captured if "core_idempotencykey" in query["sql"]]


def test_a_key_costs_one_statement_before_one_with_the_work_and_one_after(alice: Member, runner: FakeRunner) -> None:
    assert statements(alice) == []
    assert [sql.split()[0] for sql in statements(alice, **{"Idempotency-Key": KEY})] == ["INSERT", "UPDATE", "UPDATE"]


# --- Records, with the time passed in ----------------------------------------------------------------------------
def scope(key: str = KEY) -> records.Scope:
    return records.Scope(uuid.UUID(int=1), "POST", "/v1/agents", key)


def begun(at: datetime = NOW, body: bytes = b"{}") -> KeyedExecution:
    attempt = records.begin(scope(), body, now=at)
    assert isinstance(attempt, KeyedExecution)
    return attempt


def bind_now(attempt: KeyedExecution, kind: str = "probe", subject_id: str = "1") -> None:
    with transaction.atomic(), executing(attempt):
        bind(kind, subject_id)


def test_a_day_later_the_key_is_free(runner: FakeRunner) -> None:
    records.store(begun(), StoredResponse(201, {}, b"first"))

    assert isinstance(records.begin(scope(), b"{}", now=NOW + timedelta(hours=24)), StoredResponse)
    assert isinstance(records.begin(scope(), b"other", now=NOW + timedelta(hours=24, seconds=1)), KeyedExecution)


def test_a_process_that_died_early_blocks_the_key_until_its_reservation_expires() -> None:
    begun()

    with pytest.raises(IdempotencyInProgress):
        records.begin(scope(), b"{}", now=NOW + records.CLAIM_TIME)
    begun(NOW + records.CLAIM_TIME + timedelta(seconds=1))


def test_who_was_overtaken_can_neither_begin_nor_answer() -> None:
    late = begun()
    begun(NOW + timedelta(minutes=1))

    with pytest.raises(IdempotencyInProgress):
        bind_now(late)
    assert records.store(late, StoredResponse(201, {}, b"late")) is None
    assert not records.discard(late)
    assert IdempotencyKey.objects.get().status is None


def test_a_key_with_a_subject_stays_reserved_until_the_outcome_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved: list[StoredResponse | Unresolved] = [Unresolved.RUNNING]
    monkeypatch.setitem(idempotency._resolvers, "probe", lambda subject_id: resolved[0])
    attempt = begun()
    bind_now(attempt)

    with pytest.raises(IdempotencyInProgress):
        records.begin(scope(), b"{}", now=NOW + timedelta(hours=1))
    with pytest.raises(IdempotencyKeyReused):
        records.begin(scope(), b"other", now=NOW + timedelta(hours=1))
    assert not records.discard(attempt)

    resolved[0] = StoredResponse(201, {"Location": "/x"}, b"the outcome")
    assert records.begin(scope(), b"{}", now=NOW) == resolved[0]
    resolved[0] = StoredResponse(201, {}, b"a later outcome")
    stored = records.begin(scope(), b"{}", now=NOW)
    assert isinstance(stored, StoredResponse) and stored.content == b"the outcome"
    assert records.store(attempt, StoredResponse(201, {}, b"the first process' own")) == stored, (
        "all callers get the same bytes"
    )


def test_a_subject_that_is_not_there_lets_the_request_execute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(idempotency._resolvers, "probe", lambda subject_id: Unresolved.NOT_STARTED)
    bind_now(begun())

    begun()


def test_a_request_has_one_subject_and_needs_a_transaction(transactional_db: None) -> None:
    attempt = begun()
    bind_now(attempt, "job", "1")
    bind_now(attempt, "agent", "2")

    record = IdempotencyKey.objects.get()
    assert (record.subject_kind, record.subject_id) == ("job", "1")
    with pytest.raises(RuntimeError, match="transaction"), executing(attempt):
        bind("agent", "3")
    bind("agent", "4")  # outside of a keyed request it is nothing


def test_a_binding_goes_with_its_transaction() -> None:
    attempt = begun()
    with pytest.raises(ZeroDivisionError), transaction.atomic(), executing(attempt):
        bind("probe", "1")
        raise ZeroDivisionError

    assert records.discard(attempt), "nothing began"


def test_an_answer_that_is_too_large_is_left_to_its_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_STORED_BYTES", 10)
    monkeypatch.setitem(
        idempotency._resolvers, "probe", lambda subject_id: StoredResponse(200, {}, b"built again, and long")
    )
    attempt = begun()
    bind_now(attempt)

    records.store(attempt, StoredResponse(200, {}, b"longer than ten bytes"))

    assert IdempotencyKey.objects.get().status is None
    assert records.begin(scope(), b"{}", now=NOW) == StoredResponse(200, {}, b"built again, and long")


def test_a_purge_removes_what_is_past_its_time_and_nothing_else() -> None:
    for hours in range(30):
        records.begin(scope(str(hours)), b"", now=NOW - timedelta(hours=hours))

    assert records.purge(now=NOW) == 5
    assert IdempotencyKey.objects.count() == 25


@pytest.mark.parametrize("arguments", [{}, {"atomic": True, "binds": "agent"}])
def test_a_view_says_how_it_takes_the_key(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="atomic or bind"):
        takes_key(**arguments)
