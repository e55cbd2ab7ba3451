"""`python -m tests.faults.webhooks.dying`: delivers until it is killed. Reads from stdin, as JSON, its database."""

from __future__ import annotations

import json
import sys
import threading


def main() -> None:
    told = json.load(sys.stdin)
    from django.conf import settings

    settings.DATABASES["default"].update(told["database"])
    import django

    django.setup(set_prefix=False)
    from addresses.policy import parse_allow_list
    from apps.webhooks.deliverer import Deliverer

    settings.ALLOW_ADDRESSES = parse_allow_list("127.0.0.1")
    Deliverer().start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
