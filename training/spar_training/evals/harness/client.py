"""A chat client for lm-evaluation-harness that distinguishes a refused request from a failing server."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import aiohttp
from lm_eval.models.openai_completions import LocalChatCompletion
from sqlitedict import SqliteDict

from spar_core.errors import BackendProtocol

# Stands for the answer to a refused prompt, also in the cache; no model gives this answer.
REFUSED: Final = "\0"
# Statuses that indicate a wrong server or key rather than a wrong request.
_GENERAL: Final = frozenset({401, 403, 404, 407, 408, 409, 425, 429})


class ChatClient(LocalChatCompletion):  # type: ignore[misc]
    """Chat client that queries its servers in turn.

    A prompt that a server refuses, e.g. because it is too long, gets the answer REFUSED; `reason` is the reason of the
    first refusal.
    """

    def __init__(self, urls: Sequence[str], **options: Any) -> None:
        self._endpoints = [f"{url.rstrip('/')}/chat/completions" for url in urls]
        self._turns = cycle(self._endpoints)
        super().__init__(base_url=self._endpoints[0], **options)
        self.reason = ""

    @property
    def base_url(self) -> str:
        """The next server's URL; the harness reads it once per request."""
        return next(self._turns)

    @base_url.setter
    def base_url(self, url: str) -> None:
        assert url in self._endpoints

    def parse_generations(self, outputs: Any, **kwargs: Any) -> Any:
        try:
            outputs["choices"][0]["message"]["content"]
        except (IndexError, KeyError, TypeError) as error:
            raise BackendProtocol(
                f"the server's reply has no choices[0].message.content: {str(outputs)[:200]}"
            ) from error
        return super().parse_generations(outputs, **kwargs)

    async def amodel_call(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().amodel_call(*args, **kwargs)
        except aiohttp.ClientResponseError as error:
            if not 400 <= error.status < 500 or error.status in _GENERAL:
                raise
            self.reason = self.reason or f"{error.status} {error.message}"
            return [REFUSED]


def evict(cache: Path, answer: str) -> None:
    """Remove the prompts with this answer from the cache, so that the next run repeats them."""
    for file in cache.parent.glob(f"{glob.escape(cache.name)}_rank*.db"):
        with SqliteDict(str(file), autocommit=True) as answers:
            for key in [key for key, found in answers.items() if found == answer]:
                del answers[key]
