"""The caller's model: the providers' own clients on `RetryingTransport`."""

from __future__ import annotations

import httpx2
from anthropic import AsyncAnthropic
from browser_use.llm import ChatAnthropic, ChatOpenAI
from openai import AsyncOpenAI

from apps.jobs.tasks.llm.names import ModelName
from apps.jobs.tasks.llm.prices import Tokens
from apps.jobs.tasks.llm.provider_failures import ProviderFailure
from apps.jobs.tasks.llm.transport import DEFAULT_BASE_URLS, RetryingTransport

MAX_OUTPUT_TOKENS = 8192
# The transport adds the real key to each request, so no object or traceback of the client libraries holds it.
_NO_KEY = "held by the transport"


class _Anthropic(ChatAnthropic):
    client: AsyncAnthropic

    def get_client(self) -> AsyncAnthropic:
        return self.client


class _OpenAI(ChatOpenAI):
    client: AsyncOpenAI

    def get_client(self) -> AsyncOpenAI:
        return self.client


class TaskModel:
    """The caller's model. Only the transport retries; the clients' own retries are off."""

    def __init__(self, name: ModelName, *, base_url: str, key: str) -> None:
        self._taken: Tokens = 0, 0
        self._transport = RetryingTransport(name.provider, key)
        self._http = httpx2.AsyncClient(transport=self._transport, timeout=None)
        url = base_url or DEFAULT_BASE_URLS[name.provider]
        if name.provider == "anthropic":
            self.chat: _Anthropic | _OpenAI = _Anthropic(model=name.model, max_tokens=MAX_OUTPUT_TOKENS)
            self.chat.client = AsyncAnthropic(api_key=_NO_KEY, base_url=url, http_client=self._http, max_retries=0)
        else:
            # No temperature and no penalty: some models reject them.
            self.chat = _OpenAI(
                model=name.model,
                temperature=None,
                frequency_penalty=None,
                max_completion_tokens=MAX_OUTPUT_TOKENS,
            )
            self.chat.client = AsyncOpenAI(api_key=_NO_KEY, base_url=url, http_client=self._http, max_retries=0)

    @property
    def failure(self) -> ProviderFailure | None:
        """The failure after which the transport stopped retrying, if any."""
        return self._transport.failure

    @property
    def tokens(self) -> Tokens:
        """What all answers since `take_tokens` have used, also those that were not usable."""
        used = self._transport.tokens
        return used[0] - self._taken[0], used[1] - self._taken[1]

    def take_tokens(self) -> Tokens:
        tokens, self._taken = self.tokens, self._transport.tokens
        return tokens

    @property
    def said(self) -> str:
        """The beginning of the model's last answer, without secrets."""
        return self._transport.said

    async def close(self) -> None:
        await self._http.aclose()
