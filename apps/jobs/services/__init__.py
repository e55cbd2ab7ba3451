"""Writes to jobs: `appending` (the one place that writes a job's state), `creating`, `claiming`, `recording`,
`ending`, `sweeping`; `telling` says to a worker that there is something to do; `quick` and `tasks` are the products.
"""
