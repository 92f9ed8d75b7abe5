"""lm-evaluation-harness's chat client; a request that is refused as such is told apart from a server in trouble."""

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

# The answer to a refused prompt, which no model gives: it is also found in the answers that were kept.
REFUSED: Final = "\0"
# What says that the server or the key is wrong, not this one request.
_GENERAL: Final = frozenset({401, 403, 404, 407, 408, 409, 425, 429})


class ChatClient(LocalChatCompletion):  # type: ignore[misc]
    """Asks its servers in turn. A prompt that is refused, too long for the model for one, has the answer REFUSED.

    `reason` is the first one's.
    """

    def __init__(self, urls: Sequence[str], **options: Any) -> None:
        self._endpoints = [f"{url.rstrip('/')}/chat/completions" for url in urls]
        self._turns = cycle(self._endpoints)
        super().__init__(base_url=self._endpoints[0], **options)
        self.reason = ""

    @property
    def base_url(self) -> str:
        """The next one's: it is read once for a request."""
        return next(self._turns)

    @base_url.setter
    def base_url(self, url: str) -> None:
        assert url in self._endpoints

    def parse_generations(self, outputs: Any, **named: Any) -> Any:
        try:
            outputs["choices"][0]["message"]["content"]
        except (IndexError, KeyError, TypeError) as error:
            raise BackendProtocol(
                f"the server's reply has no choices[0].message.content: {str(outputs)[:200]}"
            ) from error
        return super().parse_generations(outputs, **named)

    async def amodel_call(self, *given: Any, **named: Any) -> Any:
        try:
            return await super().amodel_call(*given, **named)
        except aiohttp.ClientResponseError as error:
            if not 400 <= error.status < 500 or error.status in _GENERAL:
                raise
            self.reason = self.reason or f"{error.status} {error.message}"
            return [REFUSED]


def forget(cache: Path, answer: str) -> None:
    """Take the prompts with this answer out of the kept ones: run again, they are asked again."""
    for file in cache.parent.glob(f"{glob.escape(cache.name)}_rank*.db"):
        with SqliteDict(str(file), autocommit=True) as kept:
            for key in [key for key, found in kept.items() if found == answer]:
                del kept[key]
