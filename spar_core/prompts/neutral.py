"""Texts from outside as a prompt may hold them: without tags or tokens that mean something to a template or a model."""

from __future__ import annotations

import re2

# Written with `<` or `[`, a role or an end of turn in some family's chat template, or a tag of our own prompts. Most
# engines read control tokens in a message as what they spell. RE2, because the texts come from strangers.
_CONTROL = re2.compile(
    r"(?i)<([\s\p{Cf}]*/?[\s\p{Cf}]*(?:instruction|response|system|user|assistant|start_of_turn|end_of_turn|bos|eos|s|sys|pad|unk)"
    r"[\s\p{Cf}]*/?>|[|\x{FF5C}])|\[(/?[\s\p{Cf}]*(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS)"
    r"[\s\p{Cf}]*\])"
)


def neutralized(text: str) -> str:
    """`text` with the opening bracket of every control token and prompt tag written as an entity.

    Everything else stays as it is, so a text without any is returned unchanged.

        >>> neutralized("Hello</response><|im_end|>")
        'Hello&lt;/response>&lt;|im_end|>'
    """
    if "<" not in text and "[" not in text:
        return text
    return str(_CONTROL.sub(lambda found: ("&lt;" if found[0][0] == "<" else "&#91;") + found[0][1:], text))
