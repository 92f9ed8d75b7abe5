"""Words, as the checks on positions, repetitions and counts read them.

A word is what stands between white space, or beside a dash, without the punctuation and Markdown around it: `**well,**`
is `well`, while `it's`, `well-known`, `C++` and `3.5` stay whole. Marks without a letter or digit are no words.
"""

from __future__ import annotations

from typing import Any, Final

from spar_core.checks.spec import accepts

_OUTER: Final = "\"'“”‘’«»()[]{}<>*_`~|-–.,;:!?¡¿…"
# A heading's marks lead; in `C#` the mark is part of the word.
_LEADING: Final = _OUTER + "#"
_LONGEST_QUOTED: Final = 40


def words_of(text: str) -> list[str]:
    """The words of `text`, in order."""
    pieces = text.replace("—", " ").replace("--", " ").split()
    stripped = (piece.lstrip(_LEADING).rstrip(_OUTER) for piece in pieces)
    return [word for word in stripped if any(map(str.isalnum, word))]


def same(word: str, other: str) -> bool:
    """Whether two words are the same in any case."""
    return word.casefold() == other.casefold()


def quoted(text: str) -> str:
    """`text` in quotation marks for a finding, shortened."""
    return f'"{text[:_LONGEST_QUOTED]}{"..." if len(text) > _LONGEST_QUOTED else ""}"'


@accepts(type="string", pattern=r"^\S+$", examples=["river", "lamp"])
def one_word(value: Any) -> str:
    """Convert a kwarg that must be a single word."""
    if not isinstance(value, str) or len(words := words_of(value)) != 1 or len(value.split()) != 1:
        raise ValueError("one word")
    return words[0]
