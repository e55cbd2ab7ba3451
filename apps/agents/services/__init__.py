"""Writes to agents. `transitions` alone changes an agent's status."""
