"""The ASGI application: `uvicorn browsa.asgi:application`."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "browsa.settings")
django.setup(set_prefix=False)

from browsa.limits import allow_many_sockets  # noqa: E402  needs the settings, as does the next one
from browsa.serving import Application  # noqa: E402

allow_many_sockets()
application = Application()
