from __future__ import annotations

import socket

from stack.demo import table
from stack.harness import free_port, own_environment
from stack.remains import descendants


def test_a_separate_stack_inherits_no_settings_of_another_stack() -> None:
    environ = {
        "PATH": "/bin",
        "BROWSA_CHROMIUM": "/usr/lib/chromium/chromium",
        "BROWSA_HOME": "/precious",
        "BROWSA_PORT": "8000",
        "BROWSA_MAX_BURNERS": "1",
        "DATABASE_URL": "postgresql://production",
    }

    assert own_environment(environ) == {"PATH": "/bin", "BROWSA_CHROMIUM": "/usr/lib/chromium/chromium"}


def test_the_port_after_a_free_port_is_free() -> None:
    port = free_port()

    for number in (port, port + 1):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", number))


def test_descendants_are_children_and_their_children() -> None:
    assert descendants(1, {2: 1, 3: 2, 4: 3, 5: 9, 9: 9}) == {2, 3, 4}


def test_the_ledger_is_printed_in_columns() -> None:
    lines = table(
        [
            {"seq": 12, "kind": "capture", "amount": -1, "balance_after": 99, "description": "burner"},
            {"seq": 3, "kind": "grant", "amount": 100, "balance_after": 100, "reference": "signup"},
        ]
    )

    assert lines == [
        "  seq  kind     amount  balance  what",
        "   12  capture      -1       99  burner",
        "    3  grant      +100      100  signup",
    ]
