"""The real settings with servers that do not exist: for tools that only read the code."""

import os

os.environ.setdefault("DATABASE_URL", "postgresql://none@localhost/nothing")
os.environ.setdefault("REDIS_URL", "redis://localhost:6379/0")
os.environ.setdefault("BROWSA_SECRET_KEY", "no secret")

from browsa.settings import *  # noqa: F403
