"""The ASGI application: `uvicorn browsa.asgi:application`."""

import os

import django

from browsa import gc_freeze

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "browsa.settings")
with gc_freeze.paused_until_loaded():
    django.setup(set_prefix=False)

    from apps.core.file_limits import allow_many_sockets  # these imports need the settings
    from browsa.serving import Application

    allow_many_sockets()
    application = Application()
