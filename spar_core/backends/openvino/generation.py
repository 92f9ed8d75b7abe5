"""One request as the engine's worker knows it: its blocks, how far it is, and its tokens."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spar_core.backends.in_process.request import Request
from spar_core.backends.openvino.guidance import Guide
from spar_core.backends.openvino.options import Options, describe_token
from spar_core.backends.openvino.sampler import sample_token
from spar_core.types import FinishReason, Usage


@dataclass(eq=False)
class Generation:
    """`computed` tokens of prompt and answer are in its blocks, `cached` of them were there before it came.

    One that gave up its blocks computes its first tokens again: `replayed` says how many of the answer's it has.
    """

    request: Request
    adapter: int
    options: Options = field(default_factory=Options)
    guide: Guide | None = None
    blocks: list[int] = field(default_factory=list)
    computed: int = 0
    cached: int = 0
    replayed: int = 0
    # Requests with the same prompt, which wait for it to be computed.
    followers: list[Generation] = field(default_factory=list)
    _described: list[dict[str, Any]] = field(default_factory=list)

    @property
    def answer(self) -> list[int]:
        return self.request.answer

    def pending(self) -> Sequence[int]:
        """The tokens that are to be computed next."""
        prompt = self.request.prompt
        if self.computed < len(prompt):
            return prompt[self.computed :]
        return self.answer[self.computed - len(prompt) : self.replayed]

    def take(self, row: NDArray[np.float32], ends: Collection[int], pieces: Sequence[bytes]) -> bool:
        """Go on by the token that these logits give; True when that was the last."""
        if self.replayed < len(self.answer):
            self.replayed += 1
            return False
        token, over = self._sample(row, ends)
        if self.options.logprobs is not None and token not in ends:
            self._described.append(describe_token(row, token, pieces, self.options.logprobs))
        self.answer.append(token)
        self.replayed += 1
        request = self.request
        assert request.text is not None
        ended = token in ends
        piece = "" if ended else request.text.push(token)
        finish: FinishReason | None = None
        if ended or over or request.text.stopped:
            finish = "stop"
        elif len(self.answer) >= request.room:
            finish = "length"
        if finish is None:
            if piece:
                self._say(piece)
            return False
        self._say(piece + request.text.flush(), finish)
        return True

    def _sample(self, row: NDArray[np.float32], ends: Collection[int]) -> tuple[int, bool]:
        row = self.options.apply(row, self.answer)
        if self.guide is not None:
            row = self.guide.mask(row)
        token = sample_token(row, self.request.sampling, self.request.draw())
        over = self.guide is not None and token not in ends and self.guide.take(token)
        return token, over

    def _say(self, piece: str, finish: FinishReason | None = None) -> None:
        request = self.request
        usage = None
        if finish is not None:
            usage = Usage(len(request.prompt), len(self.answer), cached_tokens=self.cached)
        extra: dict[str, Any] = {}
        if self.options.logprobs is not None and (request.streamed or finish is not None):
            extra = {"logprobs": {"content": self._described}}
            self._described = []
        request.say(piece, finish, usage, extra)
