"""The limit of open files of this process."""

from __future__ import annotations

import resource

_SOCKETS = 65536


def allow_many_sockets() -> None:
    """Raises the soft limit (usually 1,024) towards the hard limit: each long-poll and delivery holds a socket."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = _SOCKETS if hard == resource.RLIM_INFINITY else min(_SOCKETS, hard)
    if soft != resource.RLIM_INFINITY and soft < possible:
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
