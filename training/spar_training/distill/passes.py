"""The request to the strong model in each pass, and the checks by which its replies are set aside.

The prompts are those of serving (`spar_core.prompts`), so that the pair is trained on exactly the texts that it will
see.
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
from spar_training.distill.items import Draft, JudgedItem, Prompt
from spar_training.pipeline.runner import ItemFailed


@dataclass(frozen=True, slots=True)
class Teacher:
    """A model with the run's seed."""

    backend: Backend
    seed: int

    async def complete(self, messages: Sequence[Message], sampling: Sampling, *seed_path: str) -> Completion:
        """Request a reply.

        Raises:
            ItemFailed: the reply is empty, or was cut off at `max_tokens`.
            BackendError: the call failed.
        """
        completion = await self.backend.complete(messages, replace(sampling, seed=derive_seed(self.seed, *seed_path)))
        if completion.finish_reason == "length":
            raise ItemFailed(f"cut off at {completion.usage.completion_tokens} tokens")
        if not completion.text.strip():
            raise ItemFailed("empty")
        return completion


def answer_work(teacher: Teacher, sampling: Sampling) -> Callable[[Prompt], Awaitable[dict[str, Any]]]:
    """Build the work that answers a prompt."""

    async def answer(prompt: Prompt) -> dict[str, Any]:
        completion = await teacher.complete(prompt.conversation, sampling, prompt.id, "answer")
        return {"text": completion.text, "tokens": completion.usage.completion_tokens}

    return answer


def draft_work(teacher: Teacher, sampling: Sampling) -> Callable[[Draft], Awaitable[dict[str, Any]]]:
    """Build the work that drafts an answer to be judged; the drafts of a prompt differ by their seeds."""

    async def draft(item: Draft) -> dict[str, Any]:
        completion = await teacher.complete(item.prompt.conversation, sampling, item.id, "draft")
        return {"text": completion.text, "tokens": completion.usage.completion_tokens}

    return draft


def judge_work(
    teacher: Teacher, templates: Templates, sampling: Sampling
) -> Callable[[Draft], Awaitable[dict[str, Any]]]:
    """Build the work that judges a draft once, as `Judge` does; a judgement without a verdict is set aside."""

    async def judge(draft: Draft) -> dict[str, Any]:
        completion = await teacher.complete(
            templates.judge(draft.prompt.conversation, draft.text), sampling, draft.id, "judge"
        )
        mark = templates.mark(draft.prompt.conversation, draft.text)
        verdict = parse_verdict(completion.text, draft.text, finish_reason=completion.finish_reason, mark=mark)
        if verdict is None:
            raise ItemFailed("no readable verdict")
        return {"critique": completion.text, "verdict": verdict, "tokens": completion.usage.completion_tokens}

    return judge


def refine_work(
    teacher: Teacher, templates: Templates, sampling: Sampling
) -> Callable[[JudgedItem], Awaitable[dict[str, Any]]]:
    """Build the work that refines a draft as `Refiner` does; only replies with a changed text are used."""

    async def refine(judged: JudgedItem) -> dict[str, Any]:
        draft = judged.draft
        completion = await teacher.complete(
            templates.refine(draft.prompt.conversation, draft.text, judged.critique), sampling, draft.id, "refine"
        )
        # Text after the end marker must not be learned.
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
