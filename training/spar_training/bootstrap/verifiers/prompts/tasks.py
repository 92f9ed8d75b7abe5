"""Open-domain tasks to add constraints to: from seed prompt files, from the base itself, and from our templates."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from spar_core.checks.text import count_words
from spar_training.bootstrap.verifiers.prompts.word_lists import TASK_FORMS, TOPICS
from spar_training.prompt_evolution.contamination import Benchmarks
from spar_training.prompt_evolution.load import SeedPrompt, read_prompts

_FEWEST_WORDS: Final = 3
_MOST_WORDS: Final = 45
# Tasks that form constraints do not suit: code, calculation, and requests about text that is not included.
_UNSUITED: Final = re.compile(
    r"\b(?:code|coding|python|javascript|typescript|java|c\+\+|c#|rust|sql|html|css|regex|algorithm|api|latex|function|"
    r"script|bash|linux|excel|json|csv|calculate|equation|theorem|integer|prove|matrix|pdf|attached|this (?:text|image|"
    r"article|passage|code|email|paragraph|sentence)|following)\b|[{}<>=\\^|#`]|https?:|\d\s*+[-+*/x]\s*+\d",
    re.IGNORECASE,
)
_ENDED: Final = re.compile(r"""[.?!]["')]?$""")


@dataclass(frozen=True, slots=True)
class TaskPool:
    """Tasks in a fixed order, and the number of dropped candidates by reason."""

    tasks: tuple[SeedPrompt, ...]
    left_out: Counter[str]


def collect_tasks(
    files: Sequence[Path], instructions: Iterable[SeedPrompt], *, own: int, benchmarks: Benchmarks | None, seed: int
) -> TaskPool:
    """Collect tasks from `files`, from the base's `instructions`, and `own` of ours, without duplicates or leaks.

    Raises:
        DataError: a file is missing or has no prompts.
    """
    candidates = [*(read_prompts(files) if files else []), *instructions, *own_tasks(own, seed=seed)]
    left_out: Counter[str] = Counter()
    suited: list[SeedPrompt] = []
    seen: set[str] = set()
    for task in candidates:
        plain = " ".join(re.findall(r"\w+", task.text.lower()))
        if why := "a duplicate" if plain in seen else unsuited(task.text):
            left_out[why] += 1
            continue
        seen.add(plain)
        suited.append(task)
    if benchmarks is None:
        return TaskPool(tuple(suited), left_out)
    leaks = benchmarks.leaks(suited)
    left_out["in a benchmark"] += sum(leak is not None for leak in leaks)
    return TaskPool(tuple(task for task, leak in zip(suited, leaks, strict=True) if leak is None), left_out)


def unsuited(text: str) -> str | None:
    """The reason a text is unsuitable as a task; None if it is suitable."""
    words = count_words(text)
    if not _FEWEST_WORDS <= words <= _MOST_WORDS:
        return f"not {_FEWEST_WORDS} to {_MOST_WORDS} words long"
    if not text.isascii():
        return "not plain English"
    if "\n" in text.strip() or not _ENDED.search(text.strip()):
        return "not one sentence or paragraph"
    if _UNSUITED.search(text):
        return "about code, calculation or a text that is missing"
    return None


def own_tasks(number: int, *, seed: int) -> list[SeedPrompt]:
    """Draw `number` of our tasks without repetition; each combines a form with a topic."""
    every = [form.format(topic=topic) for form in TASK_FORMS for topic in TOPICS]
    drawn = random.Random(f"{seed}/own tasks").sample(every, min(number, len(every)))
    return [SeedPrompt(f"own:{place}", text, "own") for place, text in enumerate(drawn, start=1)]
