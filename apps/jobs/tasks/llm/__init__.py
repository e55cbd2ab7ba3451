"""The caller's language model: its name, its key, and the way to it. Nothing here knows of browsers or jobs' rows."""
