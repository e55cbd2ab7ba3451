"""Statements that a connection parses and plans once, and from then on only executes.

For the few that every page needs: PostgreSQL spends nearly as much on parsing them as on executing them. They are
prepared in SQL, because psycopg2 has no call for it; psycopg 3 has, and costs more for each statement (ADR 0018).
Poolers that give each transaction another connection can't carry prepared statements, so
BROWSA_PREPARED_STATEMENTS=off sends the statements as they are.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import connection, models
from django.db.backends.utils import CursorWrapper

M = TypeVar("M", bound=models.Model)

_numbers = itertools.count(1)
_prepared: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()  # of each of psycopg2's connections: names


class Prepared:
    """`sql` with a `%s` for each value. Make it once, not once a call: each has a name of its own on the server.

    What the place of a value does not tell of its type (a list of VALUES that is selected from), a cast must.
    """

    __slots__ = ("_call", "_name", "_prepare", "_sql")

    def __init__(self, name: str, sql: str) -> None:
        pieces = sql.split("%s")
        self._sql = sql
        self._name = f"{name}_{next(_numbers)}"
        numbered = "".join(f"{piece}${n}" for n, piece in enumerate(pieces[:-1], 1)) + pieces[-1]
        self._prepare = f"PREPARE {self._name} AS {numbered}"
        marks = ", ".join(["%s"] * (len(pieces) - 1))
        self._call = f"EXECUTE {self._name} ({marks})" if marks else f"EXECUTE {self._name}"

    def text(self, cursor: CursorWrapper) -> str:
        """What `cursor` is to execute, with the values."""
        if not settings.PREPARED_STATEMENTS:
            return self._sql
        known = _prepared.setdefault(connection.connection, set())
        if self._name not in known:
            cursor.execute(self._prepare)  # not undone by a rollback
            known.add(self._name)
        return self._call

    def execute(self, cursor: CursorWrapper, values: Sequence[Any]) -> None:
        cursor.execute(self.text(cursor), _plain(values))


def execute_both(
    cursor: CursorWrapper, first: Prepared, values: Sequence[Any], then: Prepared, its_values: Sequence[Any]
) -> None:
    """Two statements in one round trip; the result is that of the second."""
    cursor.execute(f"{first.text(cursor)}; {then.text(cursor)}", _plain([*values, *its_values]))


def _plain(values: Sequence[Any]) -> list[Any]:
    """The place of a value says that it is a UUID: psycopg2's way of saying so takes longer than all else it does."""
    return [str(value) if type(value) is uuid.UUID else value for value in values]


class PreparedRow(Generic[M]):
    """One row of a model, read and written by prepared statements that name its columns.

    The ORM builds the SQL of each query again, which takes longer than all else that a short query costs. `condition`
    selects the row, with a `%s` for each value. `without`: columns that are not read.
    """

    def __init__(self, model: type[M], condition: str, *, without: Sequence[str] = ()) -> None:
        self._model = model
        self._read_fields = [field for field in model._meta.concrete_fields if field.attname not in without]
        table = model._meta.db_table
        names = ", ".join(str(field.column) for field in self._read_fields)
        self._select = Prepared(f"read_{table}", f"SELECT {names} FROM {table} WHERE {condition}")  # noqa: S608

    def first(self, values: Sequence[Any]) -> M | None:
        with connection.cursor() as cursor:
            self._select.execute(cursor, values)
            row = cursor.fetchone()
        if row is None:
            return None
        values = list(row)
        for position, convert, column in self._converters:
            values[position] = convert(values[position], column, connection)
        return self._model.from_db(connection.alias, self._names, values)

    @cached_property
    def _names(self) -> list[str]:
        return [field.attname for field in self._read_fields]

    @cached_property
    def _converters(self) -> list[tuple[int, Any, Any]]:
        """Of the few fields whose values psycopg2 does not return as the model has them: JSON."""
        found = []
        for position, field in enumerate(self._read_fields):
            column = field.get_col(self._model._meta.db_table)
            converters = [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]
            found += [(position, convert, column) for convert in converters]
        return found


class PreparedInsert(Generic[M]):
    """Inserts one row of a model, without the signals of `save`."""

    def __init__(self, model: type[M]) -> None:
        self._fields = [field for field in model._meta.concrete_fields if not field.generated]
        names = ", ".join(str(field.column) for field in self._fields)
        marks = ", ".join(["%s"] * len(self._fields))
        table = model._meta.db_table
        self._insert = Prepared(f"insert_{table}", f"INSERT INTO {table} ({names}) VALUES ({marks})")  # noqa: S608

    def execute(self, row: M) -> None:
        values = [field.get_db_prep_save(field.pre_save(row, add=True), connection) for field in self._fields]
        with connection.cursor() as cursor:
            self._insert.execute(cursor, values)
        row._state.adding, row._state.db = False, connection.alias
