"""Which network addresses may be reached. Shared by the runner and the Django side, and imports neither."""
