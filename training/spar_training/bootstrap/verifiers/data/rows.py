"""Training rows from sampled answers: supervised conversations for the actor and the refiner.

An answer is used with the prompt that it was sampled for and with other constraints of its task: the checks are right
about it either way.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from spar_core.checks import Check, Finding, verify
from spar_core.prompts import Templates
from spar_core.types import Message
from spar_training.bootstrap.verifiers.prompts.constrained import ConstrainedPrompt
from spar_training.bootstrap.verifiers.prompts.constraints import Constraint
from spar_training.data.critique import Found, critique, refinement
from spar_training.data.repairs.passages import repeats_itself, whole_sentences
from spar_training.data.repairs.repair import Source, repaired
from spar_training.storage.files import Row

Kind = Literal["answer", "judgement", "refinement"]
_MOST_CHARACTERS: Final = 2400
# This many consecutive words of a constraint's wording are not a coincidence.
_ECHO: Final = 5
_FEWEST_WORDS: Final = 8
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Answer:
    """A sampled answer; `cut` if it reached the token limit."""

    prompt_id: str
    place: int
    text: str
    cut: bool

    @property
    def id(self) -> str:
        return f"{self.prompt_id}/{self.place}"


@dataclass(frozen=True, slots=True)
class Example:
    """An answer under the constraints of one prompt, with the findings and, if it fails, the nearest passing text."""

    prompt: ConstrainedPrompt
    answer: Answer
    text: str
    findings: tuple[Finding, ...]
    refined: str | None
    by: Literal["none", "repair", "sample"]

    @property
    def id(self) -> str:
        return f"{self.answer.id}@{self.prompt.id}"

    @property
    def checks(self) -> list[Check]:
        return [constraint.check for constraint in self.prompt.constraints]

    @property
    def own_prompt(self) -> bool:
        """Whether the answer was sampled for this prompt or for its task alone, and not for other constraints."""
        return self.answer.prompt_id in (self.prompt.id, plain_id(self.prompt.task.id))

    @property
    def passed(self) -> bool:
        return all(finding.passed for finding in self.findings)


def examples(
    prompts: Sequence[ConstrainedPrompt], answers: Sequence[Answer], *, crossed: int, seed: int
) -> Iterator[Example]:
    """Yield each answer under its own prompt and under up to `crossed` others of the same task.

    An answer to a task without constraints has the prompt id `TASK/plain`.
    """
    by_id = {prompt.id: prompt for prompt in prompts}
    by_task: dict[str, list[ConstrainedPrompt]] = {}
    for prompt in prompts:
        by_task.setdefault(prompt.task.id, []).append(prompt)
    written: dict[str, list[Answer]] = {}
    for answer in answers:
        written.setdefault(task_id_of(answer.prompt_id), []).append(answer)
    for task, own in written.items():
        for answer in own:
            asked = [by_id[answer.prompt_id]] if answer.prompt_id in by_id else []
            others = [prompt for prompt in by_task.get(task, ()) if prompt.id != answer.prompt_id]
            random.Random(f"{seed}/crossed/{answer.id}").shuffle(others)
            for prompt in (*asked, *others[:crossed]):
                if (made := _example(prompt, answer, own, seed)) is not None:
                    yield made


def plain_id(task_id: str) -> str:
    """The prompt id of a task without constraints."""
    return f"{task_id}/plain"


def task_id_of(prompt_id: str) -> str:
    """The task of a prompt: `vicuna_question:4` of `vicuna_question:4/2` and of `vicuna_question:4/plain`."""
    return prompt_id.rpartition("/")[0]


def _example(prompt: ConstrainedPrompt, answer: Answer, siblings: Sequence[Answer], seed: int) -> Example | None:
    text = whole_sentences(answer.text) if answer.cut else answer.text.strip()
    if not text or len(text) > _MOST_CHARACTERS or repeats_itself(text):
        return None
    checks = [constraint.check for constraint in prompt.constraints]
    findings = verify(checks, text)
    if all(finding.passed for finding in findings):
        return Example(prompt, answer, text, findings, None, "none")
    others = [_usable(one) for one in siblings if one.id != answer.id]
    rng = random.Random(f"{seed}/repair/{answer.id}/{prompt.id}")
    refined = repaired(text, checks, Source(prompt.task.text, others, rng))
    if refined is not None and len(refined) <= _MOST_CHARACTERS:
        return Example(prompt, answer, text, findings, refined, "repair")
    passing = [one for one in others if one and all(finding.passed for finding in verify(checks, one))]
    nearest = max(passing, key=lambda one: _likeness(one, text), default=None)
    return Example(prompt, answer, text, findings, nearest, "sample" if nearest else "none")


def _usable(answer: Answer) -> str:
    return whole_sentences(answer.text) if answer.cut else answer.text.strip()


def _likeness(one: str, other: str) -> float:
    words, others = set(one.lower().split()), set(other.lower().split())
    return len(words & others) / max(1, len(words | others))


def echoes(prompt: ConstrainedPrompt, text: str) -> bool:
    """Whether an answer repeats the task, or five words of a constraint, instead of following it."""
    said = f" {' '.join(_WORD.findall(text.lower()))} "
    asks_to_repeat = any(one.id == "combination:repeat_prompt" for one in prompt.constraints)
    if not asks_to_repeat and f" {' '.join(_WORD.findall(prompt.task.text.lower()))} " in said:
        return True
    return any(f" {' '.join(run)} " in said for one in prompt.constraints for run in _runs(one))


def _says_little(prompt: ConstrainedPrompt, text: str) -> bool:
    """Whether an answer is almost empty, unless the prompt asks for a fixed phrase."""
    fixed = any(one.id == "detectable_format:constrained_response" for one in prompt.constraints)
    return not fixed and len(set(_WORD.findall(text.lower()))) < _FEWEST_WORDS


def _runs(constraint: Constraint) -> Iterator[list[str]]:
    """Runs of five words of a constraint's wording, without the text that the answer itself has to contain."""
    wording = constraint.wording
    for value in constraint.check.kwargs.values():
        if isinstance(value, str):
            wording = wording.replace(value, "\n")
    for part in wording.split("\n"):
        words = _WORD.findall(part.lower())
        yield from (words[place : place + _ECHO] for place in range(len(words) - _ECHO + 1))


def actor_row(example: Example) -> Row | None:
    """The passing answer, sampled or repaired; None if there is none or it is useless."""
    text = example.text if example.passed else example.refined
    if text is None or echoes(example.prompt, text) or _says_little(example.prompt, text):
        return None
    return _row(f"{example.id}/actor", "answer", list(example.prompt.record().conversation), text)


def judgement_row(example: Example, templates: Templates, *, of: Literal["answer", "refined"]) -> Row | None:
    """The true judgement of the answer or of its refined text."""
    text = example.text if of == "answer" else example.refined
    if text is None:
        return None
    findings = verify(example.checks, text)
    asked = templates.judge(example.prompt.record().conversation, text)
    row = _row(f"{example.id}/{of}/judge", "judgement", asked, critique(_found(example.checks, findings)))
    return {**row, "verdict": all(finding.passed for finding in findings)}


def refinement_row(example: Example, templates: Templates) -> Row | None:
    """The judgement of a failed answer and its refinement, as one conversation."""
    if example.passed or example.refined is None:
        return None
    said = critique(_found(example.checks, example.findings))
    asked = templates.refine(example.prompt.record().conversation, example.text, said)
    reply = refinement(_found(example.checks, example.findings), example.refined)
    row = _row(f"{example.id}/refine", "refinement", asked, reply)
    # The reply that would leave the answer unchanged.
    return {**row, "verdict": False, "source_text": refinement(_found(example.checks, example.findings), example.text)}


def _found(checks: Sequence[Check], findings: Sequence[Finding]) -> list[Found]:
    return [
        Found(check.requirement(), finding.evidence, finding.passed)
        for check, finding in zip(checks, findings, strict=True)
    ]


def _row(name: str, kind: Kind, asked: Sequence[Message], reply: str) -> Row:
    return {"id": name, "kind": kind, "messages": [one.to_openai() for one in (*asked, Message("assistant", reply))]}
