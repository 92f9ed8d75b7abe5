"""Score answers for lm-evaluation-harness: one function per task, from an item and its answers to {"right": 0 or 1}."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any, Final

from spar_training.evals.harness.sandbox import run_program

_NUMBER: Final = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?")
_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")
_LETTER: Final = re.compile(
    r"(?:answer\s*+(?:(?:is|:)\s*+)?\**+\(?|^[^\w\n]*+|option\s*+\(?)([A-D])(?![A-Za-z])", re.IGNORECASE | re.MULTILINE
)
_BLOCK: Final = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)

Doc = Mapping[str, Any]
Score = dict[str, float]


def gsm8k(doc: Doc, answers: Sequence[str]) -> Score:
    """Right if the last number in the answer is the reference."""
    found = _NUMBER.findall(answers[0])
    return {"right": float(bool(found) and _value(found[-1]) == _value(doc["answer"]))}


def _value(number: str) -> float:
    return float(number.replace(",", "").replace("$", ""))


def triviaqa(doc: Doc, answers: Sequence[str]) -> Score:
    """Right if the answer's first line is an alias, ignoring case, punctuation, articles and spaces like TriviaQA."""
    first = next((line for line in answers[0].strip().split("\n") if line.strip()), "")
    return {"right": float(bool(first) and _plain(first) in {_plain(alias) for alias in doc["aliases"]})}


def _plain(text: str) -> str:
    lowered = "".join(" " if character in string.punctuation else character for character in text.lower())
    return " ".join(_ARTICLES.sub(" ", lowered).split())


def mmlu(doc: Doc, answers: Sequence[str]) -> Score:
    """Right if the first letter that the answer gives as its choice is the reference."""
    found = _LETTER.search(answers[0].strip())
    return {"right": float(found is not None and found[1].upper() == doc["answer"])}


def humaneval(doc: Doc, answers: Sequence[str]) -> Score:
    """Right if the item's tests pass. Runs the answer: see `sandbox`."""
    return {"right": float(run_program(program_of(doc, answers[0])).passed)}


def program_of(doc: Doc, answer: str) -> str:
    """Assemble the prompt with its imports and helpers, the answer's code, and the tests."""
    blocks = _BLOCK.findall(answer)
    code = max(blocks, key=len) if blocks else answer
    entry = doc["entry_point"]
    if not re.search(rf"^def\s+{re.escape(entry)}\s*\(", code, re.MULTILINE):
        # The answer holds only the function's body, which continues the prompt.
        return f"{doc['prompt']}{code}\n\n{doc['test']}\n\ncheck({entry})\n"
    return f"{doc['prompt']}    pass\n\n\n{code}\n\n{doc['test']}\n\ncheck({entry})\n"
