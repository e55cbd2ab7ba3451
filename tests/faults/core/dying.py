"""`python -m tests.faults.core.dying`: makes one request again and again, each time in a process that is killed before
a later SQL statement, until one gets through. So every state that a `kill -9` can leave in the database comes about.

Reads from stdin what to do, as JSON, and writes to stdout how many processes it took. The nth sends the
Idempotency-Key `key-n`.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any


def main() -> None:
    told = json.load(sys.stdin)
    from django.conf import settings

    settings.DATABASES["default"].update(told["database"])
    import django

    django.setup(set_prefix=False)
    from tests.cast import call

    call("GET", "/healthz")  # needs no database, and loads all that a request needs once, not in every child

    for number in itertools.count(1):
        child = os.fork()
        if child == 0:
            request(told, number)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            if os.WEXITSTATUS(status):
                raise SystemExit(f"child {number} failed")
            print(number)
            return


def request(told: dict[str, Any], number: int) -> None:
    from django.db import connection

    from tests.cast import call

    left = number

    def die_in_time(execute: Callable[..., Any], *args: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(*args)

    with connection.execute_wrapper(die_in_time):
        headers = {"Idempotency-Key": f"key-{number}"}
        reply = call("POST", told["path"], key=told["secret"], content=told["body"].encode(), headers=headers)
    assert reply.status == 201, reply.content


if __name__ == "__main__":
    main()
