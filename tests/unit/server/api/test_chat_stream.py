"""The short way of wording a piece of text says what the long one does."""

from __future__ import annotations

import pytest

from spar_core.types import Delta
from spar_server.api.chat import ChatStreamFormat, Envelope
from spar_server.serving.runner import frame


@pytest.mark.parametrize("model", ["m", 'a "model": {"index": 3}', "modèle 模型 \\ \n"])
@pytest.mark.parametrize("text", ["word ", '"quoted" \\ \n\t\x00 \u2028', "字 é 🌊"])
@pytest.mark.parametrize("index", [0, 11])
def test_a_piece_of_text_is_worded_as_any_other_chunk(model: str, text: str, index: int) -> None:
    envelope = Envelope(model, "0c3f")
    worded = ChatStreamFormat(envelope, include_usage=False).delta(Delta(text), index)
    assert worded == [frame(envelope.chunk({"content": text}, index=index))]
