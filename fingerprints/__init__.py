"""What a browser shows of itself: fingerprints drawn from a seed. Standard library only; no I/O but its data file."""
