"""A Redis transport whose consumer survives the loss of its broker during a task.

When the connection is lost, kombu closes its channel and puts the unacknowledged messages back into their queues, over
the lost connection. Later the running tasks acknowledge their messages on the closed channel. Both raise an
AttributeError, which Celery does not expect: the whole worker ends with all its tasks.

Here the messages stay where they are and are delivered again after their visibility timeout. No work depends on them:
a message is a hint, a repeat changes nothing, and the sweeps find unfinished work in PostgreSQL.
"""

from __future__ import annotations

import logging
from typing import Any

from kombu.transport import redis

log = logging.getLogger(__name__)


class QoS(redis.QoS):
    """Ignores messages whose connection is lost."""

    def restore_unacked_once(self, stderr: Any = None) -> None:
        try:
            super().restore_unacked_once(stderr)  # type: ignore[no-untyped-call]
        except Exception as error:  # no error here may end the worker
            log.info("unacknowledged messages were not put back", extra={"cause": type(error).__name__})

    def ack(self, delivery_tag: str) -> None:
        if not self.channel.closed:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if not self.channel.closed:
            super().reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]


def install() -> None:
    """Makes every Redis channel of this process use this class. kombu has no setting for it."""
    redis.Channel.QoS = QoS
