"""The site that a runner's browsers may reach."""

from tests.runner.conftest import private, site

__all__ = ["private", "site"]
