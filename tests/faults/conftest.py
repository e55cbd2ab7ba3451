"""What all of these tests have: members of a stack, and its database."""

from tests.integration.conftest import database, member

__all__ = ["database", "member"]
