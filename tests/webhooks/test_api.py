"""`/v1/webhooks`: registering, changing, testing and reading the log; with input that means no good."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.core.ticks import run_tick
from apps.webhooks.models import EVENT_TYPES, Attempt, Delivery, Endpoint, OutboxEvent
from apps.webhooks.services.endpoints import MAX_ENDPOINTS
from tests.cast import Member, Reply, call
from tests.fakes.runner import FakeRunner
from tests.webhooks.making import happen, listen

pytestmark = pytest.mark.django_db

URL = "https://shop.example/hooks/browsa"


def patch(member: Member, path: str, body: Any) -> Reply:
    return call("PATCH", path, key=member.secret, content=json.dumps(body).encode())


def registered(member: Member, **fields: Any) -> dict[str, Any]:
    reply = member.post("/v1/webhooks", {"url": URL, **fields})
    assert reply.status == 201, reply.content
    body: dict[str, Any] = reply.body
    return body


def test_a_webhook_is_registered_as_the_specification_does_it(alice: Member) -> None:
    hook = registered(alice, events=["job.completed", "job.failed"], description="orders")

    assert hook.pop("id") == str(Endpoint.objects.get().id)
    assert hook.pop("created_at").endswith("Z")
    assert hook == {
        "url": URL,
        "events": ["job.completed", "job.failed"],
        "description": "orders",
        "status": "active",
        "disabled_reason": None,
        "disabled_at": None,
        "signature": "body",
        "last_sent_at": None,
        "last_error": None,
    }


@pytest.mark.parametrize("fields", [{}, {"events": []}, {"events": None}, {"unknown": 1}])
def test_without_a_filter_it_is_for_every_type(alice: Member, fields: dict[str, Any]) -> None:
    assert registered(alice, **fields)["events"] == []

    for type in EVENT_TYPES:
        happen(alice, type=type)
    assert Delivery.objects.count() == len(EVENT_TYPES)


def test_a_filter_lets_only_its_types_through(alice: Member) -> None:
    registered(alice, events=["job.completed", "job.completed", "agent.session.started"])

    for type in EVENT_TYPES:
        happen(alice, type=type)
    types = Delivery.objects.values_list("event__type", flat=True)
    assert sorted(types) == ["agent.session.started", "job.completed"]


@pytest.mark.parametrize(
    ("events", "field"),
    [
        ("job.completed", "events"),
        ({}, "events"),
        ([1], "events.0"),
        (["job.completed", "job.finished"], "events.1"),
        (["*"], "events.0"),
        ([None], "events.0"),
    ],
)
def test_an_unknown_type_is_named(alice: Member, events: Any, field: str) -> None:
    reply = alice.post("/v1/webhooks", {"url": URL, "events": events})

    assert (reply.status, reply.code, list(reply.body["fields"])) == (400, "BAD_REQUEST", [field])


@pytest.mark.parametrize("url", [None, 5, True, [], {}, ""])
def test_a_url_is_needed(alice: Member, url: Any) -> None:
    reply = alice.post("/v1/webhooks", {"url": url})

    assert (reply.status, list(reply.body["fields"])) == (400, ["url"])


@pytest.mark.parametrize(
    "url",
    [
        "ftp://shop.example/",
        "shop.example/hook",
        "https://user:password@shop.example/",
        "http://127.0.0.1/",
        "http://localhost:8000/",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://[::ffff:127.0.0.1]/",
        "http://169.254.169.254/latest/meta-data/",
        "https://shop.example/ x",
        " https://shop.example/",
        "https://shop.example/\r\nX: y",
    ],
)
def test_a_url_that_may_not_be_reached_is_refused(alice: Member, url: str) -> None:
    reply = alice.post("/v1/webhooks", {"url": url})

    assert (reply.status, reply.code) == (400, "URL_NOT_ALLOWED")
    hook = registered(alice)
    assert patch(alice, f"/v1/webhooks/{hook['id']}", {"url": url}).code == "URL_NOT_ALLOWED"


@pytest.mark.usefixtures("loopback")
def test_the_operator_may_let_it_lead_to_a_private_address(alice: Member) -> None:
    assert registered(alice, url="http://127.0.0.1:9000/hook")["url"] == "http://127.0.0.1:9000/hook"


@pytest.mark.parametrize("description", [5, True, [], "x" * 501])
def test_a_description_is_a_short_text(alice: Member, description: Any) -> None:
    reply = alice.post("/v1/webhooks", {"url": URL, "description": description})

    assert (reply.status, list(reply.body["fields"])) == (400, ["description"])


def test_a_workspace_has_no_more_than_it_may(alice: Member, bob: Member) -> None:
    hooks = [registered(alice) for _ in range(MAX_ENDPOINTS)]

    reply = alice.post("/v1/webhooks", {"url": URL})
    assert (reply.status, reply.code) == (409, "CONFLICT")
    assert str(MAX_ENDPOINTS) in reply.body["error"]
    registered(bob)
    alice.delete(f"/v1/webhooks/{hooks[0]['id']}")
    registered(alice)


def test_they_are_listed_newest_first_and_shown_alone(alice: Member, bob: Member) -> None:
    first, second = registered(alice), registered(alice, description="second")
    registered(bob)

    page = alice.get("/v1/webhooks?limit=1").body
    rest = alice.get(f"/v1/webhooks?limit=1&cursor={page['next_cursor']}").body

    assert (page["webhooks"], rest["webhooks"], rest["next_cursor"]) == ([second], [first], None)
    assert alice.get(f"/v1/webhooks/{first['id']}").body == first


def test_what_is_given_is_changed_and_the_rest_stays(alice: Member) -> None:
    hook = registered(alice, events=["job.failed"], description="old")
    path = f"/v1/webhooks/{hook['id']}"

    assert patch(alice, path, {}).body == hook
    assert patch(alice, path, {"description": ""}).body == {**hook, "description": ""}
    changed = patch(alice, path, {"url": "https://other.example/", "events": []}).body
    assert changed == {**hook, "description": "", "url": "https://other.example/", "events": []}
    assert alice.get(path).body == changed


@pytest.mark.parametrize(("field", "value"), [("status", "deleted"), ("status", 1), ("events", ["x"])])
def test_an_invalid_change_is_named(alice: Member, field: str, value: Any) -> None:
    reply = patch(alice, f"/v1/webhooks/{registered(alice)['id']}", {field: value})

    assert reply.status == 400
    assert next(iter(reply.body["fields"])).startswith(field)


def test_a_disabled_one_gets_nothing_until_it_is_enabled(alice: Member) -> None:
    hook = registered(alice)
    path = f"/v1/webhooks/{hook['id']}"

    disabled = patch(alice, path, {"status": "disabled"}).body
    assert (disabled["status"], disabled["disabled_reason"]) == ("disabled", "owner")
    assert disabled["disabled_at"] is not None
    assert patch(alice, path, {"status": "disabled"}).body == disabled
    happen(alice)
    for call_ in ("ping", "test"):
        assert alice.post(f"{path}/{call_}").code == "CONFLICT"
    assert not Delivery.objects.exists()
    assert OutboxEvent.objects.count() == 1, "a refused test event leaves no row"

    Endpoint.objects.update(failing_since=timezone.now() - timedelta(days=9), last_failure_at=timezone.now())
    assert patch(alice, path, {"status": "active"}).body == hook
    assert Endpoint.objects.get().failing_since is None
    happen(alice)
    assert Delivery.objects.count() == 1


def test_a_deleted_one_is_gone(alice: Member) -> None:
    hook = registered(alice)
    path = f"/v1/webhooks/{hook['id']}"

    assert alice.delete(path).status == 204
    happen(alice)

    assert not Delivery.objects.exists()
    assert alice.get("/v1/webhooks").body["webhooks"] == []
    for reply in (alice.delete(path), alice.get(path), alice.get(f"{path}/deliveries"), alice.post(f"{path}/ping")):
        assert (reply.status, reply.code) == (404, "NOT_FOUND")
    assert patch(alice, path, {"status": "active"}).code == "NOT_FOUND"


def test_anothers_does_not_exist(alice: Member, bob: Member) -> None:
    hook = registered(alice)
    happen(alice)
    delivery = Delivery.objects.get()
    for hook_id in (hook["id"], uuid.uuid4()):
        path = f"/v1/webhooks/{hook_id}"
        for reply in (
            bob.get(path),
            patch(bob, path, {"status": "disabled"}),
            bob.delete(path),
            bob.post(f"{path}/ping"),
            bob.get(f"{path}/deliveries"),
            bob.post(f"{path}/deliveries/{delivery.id}/redeliver"),
        ):
            assert (reply.status, reply.code) == (404, "NOT_FOUND")
    own = registered(bob)
    assert bob.post(f"/v1/webhooks/{own['id']}/deliveries/{delivery.id}/redeliver").code == "NOT_FOUND"
    happen(bob)
    assert Delivery.objects.filter(endpoint_id=hook["id"]).count() == 1
    assert alice.get(f"/v1/webhooks/{hook['id']}").body == hook


@pytest.mark.parametrize("hook_id", ["x", "1", "signing-secrets", "252e8eacea4f415cbd8f242e33c78422"])
def test_an_id_that_is_no_uuid_is_named(alice: Member, hook_id: str) -> None:
    for reply in (alice.get(f"/v1/webhooks/{hook_id}"), alice.post(f"/v1/webhooks/{hook_id}/ping")):
        assert (reply.status, reply.code) == (400, "INVALID_ID")
    known = registered(alice)["id"]
    assert alice.post(f"/v1/webhooks/{known}/deliveries/{hook_id}/redeliver").code == "INVALID_ID"


@pytest.mark.parametrize("alias", ["ping", "test"])
def test_a_ping_is_an_event_for_this_one_alone(alice: Member, alias: str) -> None:
    hook, other = registered(alice, events=["job.failed"]), registered(alice)

    reply = alice.post(f"/v1/webhooks/{hook['id']}/{alias}")

    event = OutboxEvent.objects.get()
    delivery = Delivery.objects.get()
    assert (event.type, list(event.data)) == ("webhook.test", ["message"])
    assert str(delivery.endpoint_id) == hook["id"] != other["id"]
    assert reply.status == 202
    assert reply.body == {
        "id": str(delivery.id),
        "event_id": event.id,
        "event_type": "webhook.test",
        "status": "pending",
        "attempts": 0,
        "next_attempt_at": reply.body["next_attempt_at"],
    }


def attempted(endpoint_id: str, number: int, *, status: str = "pending") -> Delivery:
    """As a deliverer would have left it."""
    delivery = Delivery.objects.get(endpoint_id=endpoint_id)
    Delivery.objects.filter(id=delivery.id).update(attempts=number, status=status)
    Attempt.objects.create(
        delivery=delivery,
        endpoint_id=endpoint_id,
        number=number,
        status_code=503,
        error="answered 503",
        duration_ms=12,
        ended_at=timezone.now(),
    )
    return delivery


def test_the_log_has_every_attempt(alice: Member) -> None:
    hook = registered(alice)
    (event_id,) = happen(alice, type="job.failed")
    for number in (1, 2):
        delivery = attempted(hook["id"], number)

    log = alice.get(f"/v1/webhooks/{hook['id']}/deliveries").body
    newest, first = log["deliveries"]

    assert newest == {
        "id": str(delivery.id),
        "event_id": event_id,
        "event_type": "job.failed",
        "attempt": 2,
        "status_code": 503,
        "error": "answered 503",
        "duration_ms": 12,
        "delivered_at": newest["delivered_at"],
        "status": "pending",
        "next_attempt_at": newest["next_attempt_at"],
    }
    assert (first["attempt"], log["next_cursor"]) == (1, None)
    page = alice.get(f"/v1/webhooks/{hook['id']}/deliveries?limit=1").body
    rest = alice.get(f"/v1/webhooks/{hook['id']}/deliveries?limit=1&cursor={page['next_cursor']}").body
    assert (page["deliveries"], rest["deliveries"]) == ([newest], [first])


@pytest.mark.parametrize("limit", ["0", "201", "x", "-1", "1.5"])
def test_the_log_takes_limits_from_1_to_200(alice: Member, limit: str) -> None:
    path = f"/v1/webhooks/{registered(alice)['id']}/deliveries?limit="

    assert alice.get(path + limit).code == "BAD_REQUEST"
    assert alice.get(path + "200").status == 200


def test_a_delivery_is_sent_again_from_the_schedules_beginning(alice: Member) -> None:
    hook = registered(alice)
    (event_id,) = happen(alice)
    delivery = attempted(hook["id"], 10, status="failed")
    Delivery.objects.update(due_at=None)

    reply = alice.post(f"/v1/webhooks/{hook['id']}/deliveries/{delivery.id}/redeliver")

    assert reply.status == 202
    assert (reply.body["id"], reply.body["event_id"]) == (str(delivery.id), event_id)
    assert (reply.body["status"], reply.body["attempts"]) == ("pending", 10)
    delivery.refresh_from_db()
    assert delivery.round_began == 10
    assert delivery.due_at is not None and delivery.due_at <= timezone.now()
    patch(alice, f"/v1/webhooks/{hook['id']}", {"status": "disabled"})
    assert alice.post(f"/v1/webhooks/{hook['id']}/deliveries/{delivery.id}/redeliver").code == "CONFLICT"


def test_a_key_makes_one_webhook_and_one_ping(alice: Member) -> None:
    first = alice.post_once("/v1/webhooks", {"url": URL}, "k")
    again = alice.post_once("/v1/webhooks", {"url": URL}, "k")
    path = f"/v1/webhooks/{first.body['id']}/ping"
    pings = [alice.post_once(path, None, "p").body["event_id"] for _ in range(2)]

    assert (first.status, again.content) == (201, first.content)
    assert again.headers["Idempotent-Replay"] == "true"
    assert (Endpoint.objects.count(), len(set(pings)), Delivery.objects.count()) == (1, 1, 1)
    assert alice.post_once("/v1/webhooks", {"url": URL + "/x"}, "k").code == "IDEMPOTENCY_KEY_REUSED"


def test_without_a_key_nothing_answers(alice: Member) -> None:
    hook_id = registered(alice)["id"]
    for path in ("", "/signing-secret", f"/{hook_id}", f"/{hook_id}/deliveries"):
        assert call("GET", f"/v1/webhooks{path}").code == "UNAUTHORIZED"


def test_other_methods_say_which_there_are(alice: Member) -> None:
    reply = alice.delete("/v1/webhooks")

    assert (reply.status, set(reply.headers["Allow"].split(", "))) == (405, {"GET", "POST", "HEAD"})


def test_readiness_tells_of_the_oldest_event_that_was_not_sent(alice: Member, runner: FakeRunner) -> None:
    run_tick("a tick", lambda: None)
    registered(alice)
    paused = listen(alice, URL)
    happen(alice)
    past = timezone.now() - timedelta(seconds=90)
    Delivery.objects.exclude(endpoint=paused).update(due_at=past)
    Delivery.objects.filter(endpoint=paused).update(due_at=past - timedelta(days=1))
    Endpoint.objects.filter(id=paused.id).update(status="disabled")

    check = call("GET", "/readyz").body["checks"]["webhooks"]

    assert check["ok"] is True
    assert 90 <= check["oldest_due_seconds"] < 120


def test_a_webhook_says_when_it_was_last_sent_to_and_what_went_wrong(alice: Member) -> None:
    hook = registered(alice)
    assert (hook["last_sent_at"], hook["last_error"], hook["signature"]) == (None, None, "body")
    endpoint = Endpoint.objects.get()
    delivery = happened(alice, endpoint)
    for number, error in ((1, "answered 500"), (2, "answered 503")):
        Attempt.objects.create(
            delivery=delivery, endpoint=endpoint, number=number, error=error, duration_ms=1, ended_at=timezone.now()
        )

    one, (listed,) = alice.get(f"/v1/webhooks/{hook['id']}").body, alice.get("/v1/webhooks").body["webhooks"]

    assert one == listed
    assert one["last_error"] == "answered 503"
    assert one["last_sent_at"].endswith("Z")
    assert patch(alice, f"/v1/webhooks/{hook['id']}", {"signature": "timestamped"}).body["signature"] == "timestamped"


def happened(member: Member, endpoint: Endpoint) -> Delivery:
    event = OutboxEvent.objects.create(
        type="job.failed", workspace=member.workspace, data={}, created_at=timezone.now()
    )
    return Delivery.objects.create(event=event, endpoint=endpoint, created_at=timezone.now())
