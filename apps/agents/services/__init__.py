"""Writes to agents: `moving` (the one place that changes a status), `provisioning`, `ending`, `sweeping`,
`renewing`.
"""
