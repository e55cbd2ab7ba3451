"""`python -m bench.events COUNT PER_SECOND`: records events in the first workspace of the stack in $BROWSA_HOME.

With PER_SECOND 0 all events are one transaction: a burst. Prints the time of the last commit.
"""

from __future__ import annotations

import os
import sys
import time


def main(count: int, per_second: float) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "browsa.settings")
    import django

    django.setup(set_prefix=False)
    from django.db import transaction

    from apps.accounts.selectors import find_workspace
    from apps.webhooks.services import record_event

    workspace = find_workspace("default")
    assert workspace is not None
    data = {
        "agent_id": "agt_" + "0" * 20,
        "mode": "burner",
        "destroyed_at": "2026-06-09T08:12:44Z",
        "reason": "expired",
    }

    def record(number: int) -> None:
        with transaction.atomic():
            for _ in range(number):
                record_event(workspace_id=workspace.id, type="agent.destroyed", data=data)

    if not per_second:
        record(count)
    for _ in range(count if per_second else 0):
        begun = time.monotonic()
        record(1)
        time.sleep(max(0.0, 1 / per_second - (time.monotonic() - begun)))
    print(time.time())


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
