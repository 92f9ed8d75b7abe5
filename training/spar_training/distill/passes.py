"""What a strong model is asked for in each pass, and which of its replies are set aside.

The prompts are those of serving (`spar_core.prompts`), so that the pair is trained on the very texts that it will see.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spar_core.backends.base import Backend
from spar_core.markers import end_marker
from spar_core.prompts import Templates
from spar_core.refiner import extract_refined
from spar_core.seeds import derive_seed
from spar_core.types import Completion, Message, Sampling
from spar_core.verdict import parse_verdict
from spar_training.distill.items import Draft, Judged, Prompt
from spar_training.pipeline.runner import ItemFailed


@dataclass(frozen=True, slots=True)
class Teacher:
    """A model that is asked; `seed` is the run's."""

    backend: Backend
    seed: int

    async def says(self, messages: Sequence[Message], sampling: Sampling, *place: str) -> Completion:
        """Its reply.

        Raises:
            Failing: the reply is empty, or was cut off at `max_tokens`.
            BackendError: the call failed.
        """
        completion = await self.backend.complete(messages, replace(sampling, seed=derive_seed(self.seed, *place)))
        if completion.finish_reason == "length":
            raise ItemFailed(f"cut off at {completion.usage.completion_tokens} tokens")
        if not completion.text.strip():
            raise ItemFailed("empty")
        return completion


def answering(teacher: Teacher, sampling: Sampling) -> Callable[[Prompt], Awaitable[dict[str, Any]]]:
    """Answer a prompt."""

    async def answer(prompt: Prompt) -> dict[str, Any]:
        completion = await teacher.says(prompt.conversation, sampling, prompt.id, "answer")
        return {"text": completion.text, "tokens": completion.usage.completion_tokens}

    return answer


def drafting(teacher: Teacher, sampling: Sampling) -> Callable[[Draft], Awaitable[dict[str, Any]]]:
    """Answer a prompt, for the answer to be judged; the drafts of a prompt differ by their seeds."""

    async def draft(item: Draft) -> dict[str, Any]:
        completion = await teacher.says(item.prompt.conversation, sampling, item.id, "draft")
        return {"text": completion.text, "tokens": completion.usage.completion_tokens}

    return draft


def judging(teacher: Teacher, templates: Templates, sampling: Sampling) -> Callable[[Draft], Awaitable[dict[str, Any]]]:
    """Judge a draft as `Judge` does, once; a judgement without a readable verdict is set aside."""

    async def judge(draft: Draft) -> dict[str, Any]:
        completion = await teacher.says(
            templates.judge(draft.prompt.conversation, draft.text), sampling, draft.id, "judge"
        )
        mark = templates.mark(draft.prompt.conversation, draft.text)
        verdict = parse_verdict(completion.text, draft.text, finish_reason=completion.finish_reason, mark=mark)
        if verdict is None:
            raise ItemFailed("no readable verdict")
        return {"critique": completion.text, "verdict": verdict, "tokens": completion.usage.completion_tokens}

    return judge


def refining(
    teacher: Teacher, templates: Templates, sampling: Sampling
) -> Callable[[Judged], Awaitable[dict[str, Any]]]:
    """Refine a draft as `Refiner` does; kept up to its end mark, and only if a changed text can be read from it."""

    async def refine(judged: Judged) -> dict[str, Any]:
        draft = judged.draft
        completion = await teacher.says(
            templates.refine(draft.prompt.conversation, draft.text, judged.critique), sampling, draft.id, "refine"
        )
        # What a model says behind the mark is not to be learnt.
        mark = templates.mark(draft.prompt.conversation, draft.text)
        end = end_marker(mark) if end_marker(mark) in completion.text else end_marker()
        reply = completion.text[: completion.text.rfind(end) + len(end)] if end in completion.text else ""
        refined = extract_refined(reply, draft.text, mark=mark)
        if refined.text is None:
            raise ItemFailed(
                f"no refined text in it: {extract_refined(completion.text, draft.text, mark=mark).failure}"
            )
        if refined.text == draft.text.strip():
            raise ItemFailed("unchanged")
        return {"reply": reply, "refined": refined.text, "tokens": completion.usage.completion_tokens}

    return refine
