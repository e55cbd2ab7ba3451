"""The ASGI application: `uvicorn browsa.asgi:application`."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "browsa.settings")
django.setup(set_prefix=False)

from browsa.serving import Application  # noqa: E402  needs the settings

application = Application()
