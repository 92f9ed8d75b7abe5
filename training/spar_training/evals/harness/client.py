"""lm-evaluation-harness's chat client; a request that is refused as such is told apart from a server in trouble."""

from __future__ import annotations

from typing import Any, Final

import aiohttp
from lm_eval.models.openai_completions import LocalChatCompletion

# What says that the server or the key is wrong, not this one request.
_GENERAL: Final = frozenset({401, 403, 404, 407, 408, 409, 425, 429})


class ChatClient(LocalChatCompletion):  # type: ignore[misc]
    """A prompt that is refused, too long for the model for one, has an empty answer.

    `refused` counts them, `reason` is the first one's.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.refused = 0
        self.reason = ""

    async def amodel_call(self, *given: Any, **named: Any) -> Any:
        try:
            return await super().amodel_call(*given, **named)
        except aiohttp.ClientResponseError as error:
            if not 400 <= error.status < 500 or error.status in _GENERAL:
                raise
            self.refused += 1
            self.reason = self.reason or f"{error.status} {error.message}"
            return [""]
