"""The policy for network addresses. The runner and the Django side import it; it imports neither."""
