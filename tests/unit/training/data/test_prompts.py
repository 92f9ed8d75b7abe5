"""Messages in a data file are read strictly, and what is wrong with them is named by its place."""

from __future__ import annotations

import pytest

from spar_core.types import Message
from spar_training.data.prompts import read_messages

ASKED = {"role": "user", "content": "Where does the Elbe end?"}


def test_text_and_text_parts_are_read_and_other_keys_preserved() -> None:
    parts = [{"type": "text", "text": "Where does "}, {"type": "text", "text": "the Elbe end?"}]
    read = read_messages(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts, "name": "ann"}]
    )
    assert read == (Message("system", "Be brief."), Message("user", parts, {"name": "ann"}))


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, r"messages: must be a non-empty list"),
        ([], r"messages: must be a non-empty list"),
        ([{**ASKED, "role": "assistant"}], r"messages: the last one must be the user's"),
        (["hi"], r"messages\[0\]: must be an object"),
        ([{**ASKED, "role": 5}], r"messages\[0\]\.role: must be system, user or assistant, is 5"),
        ([{**ASKED, "role": "bogus"}, ASKED], r"messages\[0\]\.role: .* is 'bogus'"),
        ([{**ASKED, "role": ["user"]}], r"messages\[0\]\.role: .* is \['user'\]"),
        ([{"content": "hi"}], r"messages\[0\]\.role: .* is None"),
        ([ASKED, {"role": "user"}], r"messages\[1\]\.content: must be text"),
        ([{"role": "user", "content": {"a": 1}}], r"messages\[0\]\.content: must be text, or a list"),
        ([{"role": "user", "content": " \n"}], r"messages\[0\]\.content: must not be empty"),
        ([{"role": "user", "content": []}], r"messages\[0\]\.content: must not be empty"),
        ([{"role": "user", "content": ["hi"]}], r"messages\[0\]\.content\[0\]: must be a text part"),
        ([{"role": "user", "content": [{"type": "text"}]}], r"messages\[0\]\.content\[0\]: must be a text part"),
        (
            [{"role": "user", "content": [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {}}]}],
            r"messages\[0\]\.content\[1\]: must be a text part",
        ),
    ],
)
def test_an_invalid_message_is_refused_with_its_field(value: object, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        read_messages(value)
