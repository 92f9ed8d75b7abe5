"""Texts by people and models from other benchmarks' data, and small damage to them."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from spar_training.evals.datasets import data_file, read_list
from spar_training.storage.files import read_rows

_LLMBAR: Final = ("Natural", "Adversarial/GPTInst", "Adversarial/GPTOut", "Adversarial/Manual", "Adversarial/Neighbor")


def real_texts(data: Path) -> list[str]:
    """Collect answers by models and people, problems, stories, questions and code; no duplicates or empty texts."""
    found = (*_gsm8k(data), *_trivia(data), *_code(data), *_llmbar(data), *_followbench(data), *_seeds(data))
    return list(dict.fromkeys(text for text in found if text.strip()))


def _gsm8k(data: Path) -> Iterator[str]:
    for row in read_rows(data_file(data, "gsm8k/test.jsonl"), needs=("question", "answer")):
        yield from (row["answer"], row["question"])


def _trivia(data: Path) -> Iterator[str]:
    for row in read_rows(data_file(data, "triviaqa/triviaqa_sm_sub.jsonl"), needs=("context", "answer")):
        yield f"{row['context']} {row['answer']}"


def _code(data: Path) -> Iterator[str]:
    with gzip.open(data_file(data, "humaneval/HumanEval.jsonl.gz"), "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            yield f"```python\n{row['prompt']}{row['canonical_solution']}```"


def _llmbar(data: Path) -> Iterator[str]:
    for subset in _LLMBAR:
        file = data_file(data, f"llmbar/{subset}/dataset.json")
        for row in read_list(file, {"output_1": str, "output_2": str}):
            yield from (row["output_1"], row["output_2"])


def _followbench(data: Path) -> Iterator[str]:
    for kind in ("content", "format", "mixed", "situation", "style"):
        for row in read_list(data_file(data, f"followbench/{kind}_constraints.json"), {"instruction": str}):
            yield row["instruction"]


def _seeds(data: Path) -> Iterator[str]:
    for row in read_rows(data_file(data, "seed_prompts/self_instruct_seed_tasks.jsonl")):
        yield from _strings(row.get("instances"))
    for row in read_rows(data_file(data, "seed_prompts/arena_hard_v0.1_question_en.jsonl")):
        yield from _strings(row)


def _strings(value: Any) -> Iterator[str]:
    """Yield all longer strings in a JSON value, at any depth."""
    if isinstance(value, str) and len(value) > 20:
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def damage(text: str, rng: random.Random) -> str:
    """Apply one to three small changes: truncation, repetition, and changes of case, markup and order."""
    for _ in range(rng.randint(1, 3)):
        text = rng.choice(_DAMAGES)(text, rng)
    return text


def _cut(text: str, rng: random.Random) -> str:
    return text[: rng.randint(0, len(text))]


def _drop_word(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    del words[rng.randrange(len(words))]
    return " ".join(words)


def _emphasize_word(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    index, mark = rng.randrange(len(words)), rng.choice(("*", "**"))
    words[index] = f"{mark}{words[index]}{mark}"
    return " ".join(words)


def _shuffle_lines(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    rng.shuffle(lines)
    return "\n".join(lines)


def _change_punctuation(text: str, rng: random.Random) -> str:
    return text.replace(rng.choice((".", ",", " ")), rng.choice((".", "!", "? ", ",", "\n", "\n\n", "...", ";")), 3)


_DAMAGES: Final[tuple[Callable[[str, random.Random], str], ...]] = (
    _cut,
    _drop_word,
    _emphasize_word,
    _shuffle_lines,
    _change_punctuation,
    lambda text, rng: text.upper(),
    lambda text, rng: text.lower(),
    lambda text, rng: text.swapcase(),
    lambda text, rng: text.replace("\n", "\r\n"),
    lambda text, rng: f'"{text}"',
    lambda text, rng: "Sure! Here it is:\n\n" + text,
    lambda text, rng: text + "\n\nI hope that helps!",
    lambda text, rng: "\n".join(f"{rng.choice(('*', '-', '1.'))} {line}" for line in text.split("\n")),
    lambda text, rng: f"{text}\n\n***\n\n{text}",
    lambda text, rng: f"{text}\n******\n{text[::-1]}",
    lambda text, rng: (
        text + rng.choice(("\n\nP.S. Write soon.", "\n\nP. P. S. No.", " [name] [date]", " 🎉🎉", "\u00a0"))
    ),
)
