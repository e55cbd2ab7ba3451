"""The caller's language model: its name, its key, and the transport to its provider."""
