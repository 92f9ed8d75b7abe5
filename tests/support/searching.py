"""A scripted actor, judge and refiner for tests of the search."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.checks.base import Check
from spar_core.judge import Judge
from spar_core.prompts import load_templates
from spar_core.refiner import Refiner
from spar_core.search import Models, SearchConfig, Searcher, SearchResult
from spar_core.search.events import Event
from spar_core.types import Completion, Message, Sampling

QUESTION = [Message("user", "Write about rivers.")]
YES, NO = "good.\nFinal Judgement: Yes", "bad.\nFinal Judgement: No"
Verdict = Callable[[str], str | BaseException]


def counting_refiner(latency_s: float = 0.0) -> ScriptedBackend:
    """A refiner that never repeats an answer."""
    numbers = itertools.count(1)
    return ScriptedBackend(lambda m, s: f"[[start]]\nanswer {next(numbers)}\n[[end]]", latency_s=latency_s)


def judging(verdict: Verdict, latency_s: float = 0.0) -> ScriptedBackend:
    """A judge whose verdict depends on the response."""

    def script(messages: Sequence[Message], sampling: Sampling) -> str | BaseException:
        return verdict(messages[0].text.rpartition("Response: ")[2])

    return ScriptedBackend(script, latency_s=latency_s)


async def search(
    *,
    actor: ScriptedBackend | None = None,
    judge: ScriptedBackend | None = None,
    refiner: ScriptedBackend | None = None,
    checks: Sequence[Check] = (),
    draft: Completion | None = None,
    events: list[Event] | None = None,
    judge_tokens: int | None = 64,
    temperature: float | None = None,
    **config: Any,
) -> SearchResult:
    templates = load_templates("compact")
    settings = SearchConfig(**config)
    models = Models(
        actor=actor or ScriptedBackend(always("draft")),
        judge=Judge(
            backend=judge or ScriptedBackend(always(NO)),
            templates=templates,
            votes=settings.votes,
            threshold=settings.threshold,
            early_stop=settings.early_vote_stop,
            sampling=Sampling(max_tokens=judge_tokens),
        ),
        refiner=Refiner(
            backend=refiner or counting_refiner(), templates=templates, sampling=Sampling(max_tokens=judge_tokens)
        ),
    )
    emit = (events if events is not None else []).append
    sampling = Sampling(max_tokens=64, temperature=temperature)
    return await Searcher(models, settings, sampling, checks).run(QUESTION, draft=draft, emit=emit)
