"""What the kernel allows a process."""

from __future__ import annotations

import resource

_SOCKETS = 65536


def allow_many_sockets() -> None:
    """As many as the hard limit permits: the usual soft limit is 1,024, and each long-poll and delivery holds one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = _SOCKETS if hard == resource.RLIM_INFINITY else min(_SOCKETS, hard)
    if soft != resource.RLIM_INFINITY and soft < possible:
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
