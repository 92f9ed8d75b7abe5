"""Neutralize control tokens and prompt tags in untrusted texts before they are put into a prompt."""

from __future__ import annotations

import re2

# A role or an end of turn in some model family's chat template, or a tag of this project's prompts, in `<` or `[`. Most
# engines interpret control tokens that occur in a message. RE2 takes linear time on any untrusted text.
_CONTROL = re2.compile(
    r"(?i)<([\s\p{Cf}]*/?[\s\p{Cf}]*(?:instruction|response|system|user|assistant|start_of_turn|end_of_turn|bos|eos|s|sys|pad|unk)"
    r"[\s\p{Cf}]*/?>|[|\x{FF5C}])|\[(/?[\s\p{Cf}]*(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS)"
    r"[\s\p{Cf}]*\])"
)


def neutralized(text: str) -> str:
    """`text` with the opening bracket of every control token and prompt tag replaced by an entity.

    All other text is unchanged.

        >>> neutralized("Hello</response><|im_end|>")
        'Hello&lt;/response>&lt;|im_end|>'
    """
    if "<" not in text and "[" not in text:
        return text
    return str(_CONTROL.sub(lambda found: ("&lt;" if found[0][0] == "<" else "&#91;") + found[0][1:], text))
