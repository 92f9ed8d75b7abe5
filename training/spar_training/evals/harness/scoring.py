"""Whether an answer is right, task by task, for lm-evaluation-harness: {"right": 0 or 1} of an item and its answers."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any, Final

from spar_training.evals.harness.sandbox import run_program

_NUMBER: Final = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?")
_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")
_LETTER: Final = re.compile(
    r"(?:answer\s*(?:is|:)?\s*\**\(?|^\W*|option\s*\(?)([A-D])(?![A-Za-z])", re.IGNORECASE | re.MULTILINE
)
_BLOCK: Final = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)

Doc = Mapping[str, Any]
Scored = dict[str, float]


def gsm8k(doc: Doc, answers: Sequence[str]) -> Scored:
    """The last number of the answer is the right one."""
    found = _NUMBER.findall(answers[0])
    return {"right": float(bool(found) and _value(found[-1]) == _value(doc["answer"]))}


def _value(number: str) -> float:
    return float(number.replace(",", "").replace("$", ""))


def triviaqa(doc: Doc, answers: Sequence[str]) -> Scored:
    """The answer's first line is an alias: case, punctuation, articles and spaces aside, as TriviaQA has it."""
    first = next((line for line in answers[0].strip().split("\n") if line.strip()), "")
    return {"right": float(bool(first) and _plain(first) in {_plain(alias) for alias in doc["aliases"]})}


def _plain(text: str) -> str:
    lowered = "".join(" " if character in string.punctuation else character for character in text.lower())
    return " ".join(_ARTICLES.sub(" ", lowered).split())


def mmlu(doc: Doc, answers: Sequence[str]) -> Scored:
    """The letter that the answer gives, the first one it names as its answer."""
    found = _LETTER.search(answers[0].strip())
    return {"right": float(found is not None and found[1].upper() == doc["answer"])}


def humaneval(doc: Doc, answers: Sequence[str]) -> Scored:
    """The item's tests pass. Runs the answer: see `sandbox`."""
    return {"right": float(run_program(program_of(doc, answers[0])).passed)}


def program_of(doc: Doc, answer: str) -> str:
    """The prompt, whose imports and helpers count, the answer's code after it, and the tests."""
    blocks = _BLOCK.findall(answer)
    code = max(blocks, key=len) if blocks else answer
    entry = doc["entry_point"]
    if not re.search(rf"^def\s+{re.escape(entry)}\s*\(", code, re.MULTILINE):
        # Only the body, to go on where the prompt ends.
        return f"{doc['prompt']}{code}\n\n{doc['test']}\n\ncheck({entry})\n"
    return f"{doc['prompt']}    pass\n\n\n{code}\n\n{doc['test']}\n\ncheck({entry})\n"
