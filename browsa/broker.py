"""A Redis transport whose consumer survives the loss of its broker in the middle of a task.

When the connection is lost, kombu closes its channel, and that puts the unacknowledged messages back into their
queues: over the very connection that is lost. Later the tasks in hand acknowledge theirs, on a channel that is closed.
Each of the two raises an AttributeError, which Celery does not expect: the whole worker ends, with all that it does.

Here the messages stay where they are, and come again when their visibility timeout is over. Nothing waits for them:
a message is a hint, a repeat does nothing, and the sweeps find in PostgreSQL what is to be done.
"""

from __future__ import annotations

import logging
from typing import Any

from kombu.transport import redis

log = logging.getLogger(__name__)


class QoS(redis.QoS):
    """Gives up on messages whose connection is gone."""

    def restore_unacked_once(self, stderr: Any = None) -> None:
        try:
            super().restore_unacked_once(stderr)  # type: ignore[no-untyped-call]
        except Exception as error:  # whatever it is, the worker is to live
            log.info("unacknowledged messages were not put back", extra={"cause": type(error).__name__})

    def ack(self, delivery_tag: str) -> None:
        if not self.channel.closed:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if not self.channel.closed:
            super().reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]


def install() -> None:
    """Has every Redis channel of this process use it. kombu offers no setting for this."""
    redis.Channel.QoS = QoS
