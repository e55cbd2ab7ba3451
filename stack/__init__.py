"""The embedded one-machine stack: PostgreSQL, Redis, api, worker, beat and runner under one supervisor."""
