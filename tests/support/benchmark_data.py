"""Small data sets in the formats of the benchmarks, and a model that knows their answers."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from spar_core.backends.scripted import Script
from spar_core.types import Message, Sampling

# The real data sets, which are not part of the project.
REAL = Path(os.environ.get("SPAR_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason="needs the data sets: set SPAR_DATA")

SUBSETS = ("Natural", "Adversarial/GPTInst", "Adversarial/GPTOut", "Adversarial/Manual", "Adversarial/Neighbor")
FUNCTION = {
    "task_id": "Test/0",
    "prompt": 'import math\n\n\ndef root(x):\n    """The whole square root of x."""\n',
    "canonical_solution": "    return math.isqrt(x)\n",
    "test": "def check(candidate):\n    assert candidate(9) == 3\n    assert candidate(10) == 3\n",
    "entry_point": "root",
}


def write_lines(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_ifeval(data: Path) -> None:
    """Three prompts, four instructions."""
    rows = [
        ("No comma about rain.", [("punctuation:no_comma", {})]),
        ("Two words or more, with a lamp.",
         [("length_constraints:number_words", {"num_words": 2, "relation": "at least", "letter": None}),
          ("keywords:existence", {"keywords": ["lamp"]})]),
        ("A title for a poem.", [("detectable_format:title", {})]),
    ]  # fmt: skip
    write_lines(
        data / "ifeval" / "input_data.jsonl",
        [
            {"key": 1000 + n, "prompt": prompt, "instruction_id_list": [i for i, _ in of], "kwargs": [k for _, k in of]}
            for n, (prompt, of) in enumerate(rows)
        ],
    )


def write_llmbar(data: Path, pairs: int = 2) -> None:
    """Some pairs of each subset; the better output says `good`."""
    for subset in SUBSETS:
        rows = [
            {"input": f"Say good {n}.", "output_1": ["good", "bad"][n % 2], "output_2": ["bad", "good"][n % 2],
             "label": 1 + n % 2}
            for n in range(pairs)
        ]  # fmt: skip
        file = data / "llmbar" / subset / "dataset.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(rows), encoding="utf-8")


def write_followbench(data: Path) -> None:
    """One group of each kind; those of `situation` and `example` are scored by rule."""
    for kind in ("content", "situation", "style", "format", "example", "mixed"):
        source = {"situation": "BBH_time", "example": "xsum"}.get(kind, "quora")
        target = {"situation": "12/25/1937", "example": "{instruction}\nBot: {answer}"}.get(kind, "")
        rows = [
            {"example_id": 1, "category": kind, "source": source, "level": level, "target": target,
             "instruction": f"{kind}: tell me, with {level} constraints."}
            for level in range(1 if kind == "example" else 0, 6)
        ]  # fmt: skip
        file = data / "followbench" / f"{kind}_constraints.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(rows), encoding="utf-8")


def write_general(data: Path) -> None:
    """One item of each task, but two of MMLU."""
    write_lines(
        data / "gsm8k" / "test.jsonl", [{"question": "What is 600 times 2?", "answer": "Twice it.\n#### 1,200"}]
    )
    write_lines(
        data / "triviaqa" / "triviaqa_sm_sub.jsonl",
        [{"context": "Question: Who wrote Faust?\nAnswer:", "answer": "Goethe", "aliases": ["J. W. von Goethe"]}],
    )
    for subject, answer in (("astronomy", 1), ("virology", 3)):
        file = data / "mmlu" / "test" / f"{subject}_test.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", newline="", encoding="utf-8") as out:
            table = csv.writer(out)
            table.writerow(["question", "choice0", "choice1", "choice2", "choice3", "answer"])
            table.writerow([f"What, in {subject}?", "one", "two", "three", "four", answer])
    file = data / "humaneval" / "HumanEval.jsonl.gz"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress((json.dumps(FUNCTION) + "\n").encode()))


KNOWN = {
    "600 times 2": "It is 600 + 600.\nThe answer is $1,200.",
    "Faust": "The J.W. von Goethe",
    "astronomy": "B",
    "virology": "The answer is (D).",
    "def root": "```python\nimport math\n\ndef root(x):\n    return math.isqrt(x)\n```",
}


def knowing(known: Mapping[str, str] = KNOWN) -> Script:
    """A model that answers prompts with a known key phrase, and says that it does not know otherwise."""

    def reply(messages: Sequence[Message], sampling: Sampling) -> str:
        prompt = messages[-1].text
        return next((answer for phrase, answer in known.items() if phrase in prompt), "I do not know.")

    return reply
