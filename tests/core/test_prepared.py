"""Statements that a connection prepares once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import DataError, connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.accounts.models import ApiKey, Workspace
from apps.core.prepared import Prepared, PreparedInsert, PreparedRow, execute_both

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def double() -> Prepared:
    return Prepared("double", "SELECT 2 * %s::integer, 'a' || %s::text")


@pytest.fixture(params=[True, False], ids=["prepared", "as they are"])
def either_way(request: pytest.FixtureRequest, settings: LazySettings) -> None:
    settings.PREPARED_STATEMENTS = request.param


@pytest.fixture
def a_new_connection() -> Iterator[None]:
    connection.close()
    yield
    connection.close()


def ask(statement: Prepared, *values: Any) -> Any:
    with connection.cursor() as cursor:
        statement.execute(cursor, values)
        return cursor.fetchone()


def asked(act: Callable[[], Any]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        act()
    return [query["sql"].split(" ")[0] for query in captured if query["sql"] not in ("BEGIN", "COMMIT", "ROLLBACK")]


@pytest.mark.usefixtures("either_way")
def test_values_arrive(double: Prepared) -> None:
    quoted = "it's 100 %s \\ $1"

    assert ask(double, 21, quoted) == (42, "a" + quoted)


@pytest.mark.usefixtures("either_way")
def test_uuids_and_nothing_arrive() -> None:
    one = uuid.uuid4()

    assert ask(Prepared("same", "SELECT %s::uuid, %s::integer"), one, None) == (one, None)


@pytest.mark.usefixtures("either_way")
def test_both_are_executed_and_the_second_answers(double: Prepared) -> None:
    with connection.cursor() as cursor:
        execute_both(cursor, Prepared("first", "SELECT %s::integer"), [1], double, [2, "b"])

        assert cursor.fetchall() == [(4, "ab")]


def test_a_statement_is_prepared_once(double: Prepared, a_new_connection: None) -> None:
    assert asked(lambda: ask(double, 1, "")) == ["PREPARE", "EXECUTE"]
    assert asked(lambda: ask(double, 2, "")) == ["EXECUTE"]


def test_each_connection_prepares_for_itself(double: Prepared) -> None:
    ask(double, 1, "")
    connection.close()

    assert asked(lambda: ask(double, 1, "")) == ["PREPARE", "EXECUTE"]


def test_what_was_prepared_outlives_a_rollback(double: Prepared, a_new_connection: None) -> None:
    with pytest.raises(DataError), transaction.atomic():
        ask(double, 2**31 - 1, "")  # out of range, after it was prepared

    assert ask(double, 1, "") == (2, "a")


def test_without_preparing_nothing_is_kept(double: Prepared, settings: LazySettings) -> None:
    settings.PREPARED_STATEMENTS = False

    assert asked(lambda: ask(double, 1, "")) == ["SELECT"]


@pytest.mark.usefixtures("either_way")
def test_a_row_is_what_the_orm_reads() -> None:
    saved = Workspace.objects.create(name="W", slug="w", rate_limits={"read": {"burst": 7}, "create": "off"})
    row = PreparedRow(Workspace, "slug = %s AND id = %s")

    found = row.first(["w", saved.id])

    expected = Workspace.objects.get(id=saved.id)
    assert found is not None
    assert [getattr(found, f.attname) for f in Workspace._meta.concrete_fields] == [
        getattr(expected, f.attname) for f in Workspace._meta.concrete_fields
    ]
    assert row.first(["w", uuid.uuid4()]) is None


def test_columns_that_are_left_out_are_read_on_demand() -> None:
    saved = Workspace.objects.create(name="W", slug="w", rate_limits={"read": "off"})

    found = PreparedRow(Workspace, "id = %s", without=("name", "rate_limits")).first([saved.id])

    assert found is not None
    assert found.get_deferred_fields() == {"name", "rate_limits"}
    assert (found.slug, found.name, found.rate_limits) == ("w", "W", {"read": "off"})


@pytest.mark.usefixtures("either_way")
def test_an_inserted_row_is_as_a_saved_one() -> None:
    workspace = Workspace(name="it's 100 %", slug="w", rate_limits={"read": {"burst": 7}})
    key = ApiKey(workspace=workspace, name="k", prefix="agt_live_0", digest="d")

    PreparedInsert(Workspace).execute(workspace)
    PreparedInsert(ApiKey).execute(key)

    assert not workspace._state.adding
    assert Workspace.objects.get(id=workspace.id).rate_limits == {"read": {"burst": 7}}
    found = ApiKey.objects.select_related("workspace").get(id=key.id)
    assert (found.workspace.name, found.digest, found.last_used_at) == ("it's 100 %", "d", None)
    assert found.created_at == key.created_at
