"""Statements that a connection prepares once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import DataError, connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.core.prepared import Prepared, execute_both

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
