"""The real settings with names of servers that nobody dials: for tools that only look at the code."""

import os

os.environ.setdefault("DATABASE_URL", "postgresql://nobody@localhost/nothing")
os.environ.setdefault("REDIS_URL", "redis://localhost:6379/0")
os.environ.setdefault("BROWSA_SECRET_KEY", "no secret")

from browsa.settings import *  # noqa: F403
