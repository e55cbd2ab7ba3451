"""`python -m bench.spending HOME`: holds and captures in the database of the stack in HOME. Prints rates as JSON.

Turns of the ledger and of plain transactions alternate, so that both see the same machine. A plain transaction is the
least that a ledger does: it inserts one row and updates one, through the driver alone.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

THREADS = (1, 8)
WORKSPACES = 100
TURNS = 3
SECONDS_A_TURN = 2.0

Pair = Callable[[Any, Any], None]

_CREATE = """
    DROP TABLE IF EXISTS bench_entry, bench_account;
    CREATE TABLE bench_account (id int PRIMARY KEY, balance bigint NOT NULL);
    CREATE TABLE bench_entry (id uuid PRIMARY KEY, account int NOT NULL, amount bigint NOT NULL, note text NOT NULL);
    INSERT INTO bench_account SELECT n, 0 FROM generate_series(1, %s) n;
"""
_INSERT = "INSERT INTO bench_entry (id, account, amount, note) VALUES (%s, %s, %s, %s)"
_UPDATE = "UPDATE bench_account SET balance = balance + %s WHERE id = %s"


def main() -> None:
    home = sys.argv[1]
    kept = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    os.environ.clear()
    os.environ.update(kept, BROWSA_HOME=home, DJANGO_SETTINGS_MODULE="browsa.settings", SIGNUP_CREDITS="1000000")
    import django

    django.setup()
    print(json.dumps({"threads": THREADS, "rates": _measure()}))


def _measure() -> dict[str, list[float]]:
    from django.db import connection

    from apps.accounts.services import create_workspace

    workspaces = [create_workspace(name=f"bench {number}").id for number in range(WORKSPACES)]
    accounts = list(range(1, WORKSPACES + 1))
    with connection.cursor() as cursor:
        cursor.execute(_CREATE, [WORKSPACES])
    rates: dict[str, list[float]] = {}
    for _ in range(TURNS):
        for threads in THREADS:
            for place, count in (("one", 1), ("many", WORKSPACES)):
                ours = _rate(_ours, workspaces[:count], threads)
                plain = _rate(_plain, accounts[:count], threads)
                rates.setdefault(f"ours {place} {threads}", []).append(ours)
                rates.setdefault(f"plain {place} {threads}", []).append(plain)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE bench_entry, bench_account")
    return rates


def _ours(_database: Any, workspace_id: uuid.UUID) -> None:
    from apps.billing import services

    reference = uuid.uuid4().hex
    services.hold(workspace_id=workspace_id, amount=3, reference=reference, source=services.Source("Burner"))
    services.settle(workspace_id=workspace_id, reference=reference, used=3, description="Burner, deleted")


def _plain(database: Any, account: int) -> None:
    for amount in (3, -3):
        with database, database.cursor() as cursor:
            cursor.execute(_INSERT, [str(uuid.uuid4()), account, amount, "Burner"])
            cursor.execute(_UPDATE, [amount, account])


def _rate(pair: Pair, subjects: Sequence[Any], threads: int) -> float:
    """Pairs per second of all threads together. Each thread opens its connection before the time starts."""
    together = threading.Barrier(threads + 1)
    counts = [0] * threads
    end = [0.0]

    def work(number: int) -> None:
        import psycopg2
        from django.db import connection

        connection.ensure_connection()
        database = psycopg2.connect(connection.connection.dsn)
        together.wait()
        together.wait()
        mine = itertools.cycle([*subjects[number::threads], *subjects[:number]] or subjects)
        while time.perf_counter() < end[0]:
            pair(database, next(mine))
            counts[number] += 1
        database.close()
        connection.close()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    together.wait()
    started = time.perf_counter()
    end[0] = started + SECONDS_A_TURN
    together.wait()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
