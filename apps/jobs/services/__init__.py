"""Writes to jobs: `appending` (the one place that writes a job's state), `creating`, `claiming`, `recording`,
`ending`, `sweeping`.
"""
