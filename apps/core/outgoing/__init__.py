"""Requests to addresses that callers name: webhooks' receivers, LLM endpoints. The other end is hostile.

`urls` judges a URL by its form, `network` opens connections under the address policy, `client` makes requests.
"""
