"""Writes to jobs of every kind. `event_log` alone writes a job's state, with the SQL of `event_log_sql`."""
