"""Checks on copies: of the request, of a part of it, of a phrase."""

from __future__ import annotations

from typing import Any, Final

from spar_core.checks.base import Finding
from spar_core.checks.ifbench_train.words import quoted, words_of
from spar_core.checks.spec import CheckSpec, Kwargs, accepts, counted, positive, text, whole

_SEPARATOR: Final = "******"
# One word to replace, and one on each side of it to know the phrase by.
_SHORTEST_PHRASE: Final = 3


def _same_text(text: str, other: str) -> bool:
    return text.strip().lower() == other.strip().lower()


def _copy(response: str, kwargs: Kwargs) -> Finding:
    copied = _same_text(response, kwargs["prompt_to_repeat"])
    return Finding(copied, "a copy" if copied else f"not a copy: {quoted(response.strip())}")


def _copies(response: str, kwargs: Kwargs) -> Finding:
    parts = response.split(_SEPARATOR)
    wrong = next((part for part in parts if not _same_text(part, kwargs["prompt_to_repeat"])), None)
    if wrong is not None:
        return Finding(False, f"not a copy: {quoted(wrong.strip())}")
    copies = "1 copy" if len(parts) == 1 else f"{len(parts)} copies"
    return Finding(len(parts) == kwargs["N"], copies)


def _separator_within(kwargs: Kwargs) -> tuple[str, str] | None:
    if _SEPARATOR not in kwargs["prompt_to_repeat"]:
        return None
    return "prompt_to_repeat", f"a text without {_SEPARATOR}, which separates the copies"


def _span(response: str, kwargs: Kwargs) -> Finding:
    # The instruction includes the character at n_end, IFBench's own verifier does not: either is right.
    found = any(_same_text(response, span) for span in _spans(kwargs))
    return Finding(found, "a copy" if found else f"not a copy: {quoted(response.strip())}")


def _spans(kwargs: Kwargs) -> tuple[str, str]:
    whole_text, start, end = kwargs["prompt_to_repeat"], kwargs["n_start"], kwargs["n_end"]
    return whole_text[start:end], whole_text[start : end + 1]


def _no_span(kwargs: Kwargs) -> tuple[str, str] | None:
    length = len(kwargs["prompt_to_repeat"])
    if not kwargs["n_start"] < kwargs["n_end"] <= length:
        return "n_end", f"above n_start and at most {length}, the length of prompt_to_repeat"
    if not _spans(kwargs)[0].strip():
        return "n_end", "the end of a span that is more than white space"
    return None


def _phrase_varied(response: str, kwargs: Kwargs) -> Finding:
    phrase = _folded(kwargs["phrase"])
    words = _folded(response)
    unchanged = varied = place = 0
    while place + len(phrase) <= len(words):
        changes = _changes(phrase, words, place)
        unchanged += changes == 0
        varied += changes == 1
        place += len(phrase) if changes < 2 else 1
    evidence = counted(varied, "time") + (f", and {counted(unchanged, 'time')} unchanged" if unchanged else "")
    return Finding(varied == kwargs["small_n"] and not unchanged, evidence)


def _folded(text: str) -> list[str]:
    return [word.casefold() for word in words_of(text)]


def _changes(phrase: list[str], words: list[str], place: int) -> int:
    """How many words at `place` differ from the phrase: 0, 1 within it, or 2 for more or for another first or last."""
    if words[place] != phrase[0] or words[place + len(phrase) - 1] != phrase[-1]:
        return 2
    changes = 0
    for offset in range(1, len(phrase) - 1):
        changes += words[place + offset] != phrase[offset]
        if changes == 2:
            break
    return changes


@accepts(type="string", minLength=1, examples=["the old river mill"])
def _phrase(value: Any) -> str:
    if not isinstance(value, str) or len(words_of(value)) < _SHORTEST_PHRASE:
        raise ValueError(f"a phrase of at least {_SHORTEST_PHRASE} words")
    return value.strip()


SPECS: Final = (
    CheckSpec(
        "ifbench-train:copy",
        lambda k: f'nothing but this text, word for word: "{k["prompt_to_repeat"].strip()}"',
        _copy,
        {"prompt_to_repeat": text},
    ),
    CheckSpec(
        "ifbench-train:copying_simple",
        lambda k: f'nothing but this request, word for word: "{k["prompt_to_repeat"].strip()}"',
        _copy,
        {"prompt_to_repeat": text},
    ),
    CheckSpec(
        "ifbench-train:copying_multiple",
        lambda k: (
            f"nothing but this request {counted(k['N'], 'time')}, word for word, separated by {_SEPARATOR}: "
            f'"{k["prompt_to_repeat"].strip()}"'
        ),
        _copies,
        {"prompt_to_repeat": text, "N": positive},
        clash=_separator_within,
        passes=lambda _: 15,
    ),
    CheckSpec(
        "ifbench-train:copy_span_idx",
        lambda k: f'nothing but this text, word for word: "{_spans(k)[1].strip()}"',
        _span,
        {"prompt_to_repeat": text, "n_start": whole, "n_end": whole},
        clash=_no_span,
    ),
    CheckSpec(
        "ifbench-train:repeat_phrase",
        lambda k: (
            f'repeat the phrase "{k["phrase"]}" exactly {counted(k["small_n"], "time")}, '
            "each time with a single word inside it replaced"
        ),
        _phrase_varied,
        {"phrase": _phrase, "small_n": positive},
        passes=lambda k: 60 + 10 * len(words_of(k["phrase"])),
    ),
)
