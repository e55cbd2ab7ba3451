"""The ASGI application: `uvicorn browsa.asgi:application`."""

import os
import resource

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "browsa.settings")
django.setup(set_prefix=False)

from browsa.serving import Application  # noqa: E402  needs the settings


def _allow_many_sockets(wanted: int = 65536) -> None:
    """Who waits for a job holds a socket, and the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < possible:
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))


_allow_many_sockets()
application = Application()
