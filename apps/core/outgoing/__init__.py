"""Requests to addresses that callers choose: webhook receivers, LLM endpoints. The other end is hostile.

`urls` checks the form of a URL, `network` connects under the address policy, `client` sends requests.
"""
