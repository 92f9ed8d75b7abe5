"""`spar train size`: estimate the calls, tokens and GPU-hours of an iteration from the counts of a real run.

Calls follow from the recipe and from the shape of a measured run: how many prompts had a negative, how many nodes a
search took, how many searches were accepted. Tokens follow from the given lengths of a prompt and an answer, and from
the measured lengths of judgements and refinements relative to an answer. GPU-hours assume 2 FLOPs per parameter and
token to read or generate and 6 to train (8 with gradient checkpointing), at the share of a GPU's peak in the recipe's
`resources`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from spar_core.errors import ConfigError
from spar_core.prompts import load_templates
from spar_training.methods.training import job_for
from spar_training.runs.folder import Iteration, read_run
from spar_training.runs.recipe import Recipe
from spar_training.storage.files import read_rows

# English text in the tokenizers of these models takes about four tokens per three words.
_TOKENS_A_WORD: Final = 4 / 3


@dataclass(frozen=True, slots=True)
class Shape:
    """The counts of a run. Responses, negatives and rows are per prompt; lengths are relative to an answer's."""

    responses: float
    negatives: float
    nodes: float
    accepted: float
    rows: dict[str, float]
    judgement: float
    refinement: float

    def negatives_of(self, responses: int) -> float:
        """The share of prompts with a negative among so many responses, if each is one with the same probability."""
        return float(1 - (1 - self.negatives) ** (responses / self.responses))


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths in tokens. `judge` and `refine` are those of the templates."""

    prompt: float
    answer: float
    judgement: float
    refinement: float
    judge: float
    refine: float

    @property
    def judge_prompt(self) -> float:
        return self.judge + self.prompt + self.answer

    @property
    def refine_prompt(self) -> float:
        return self.judge_prompt + self.judgement + self.refine


@dataclass(frozen=True, slots=True)
class Step:
    """A kind of call or training. The votes of a judgement are one request, whose prompt is read once."""

    name: str
    calls: float
    prompt_tokens: float
    generated: float
    flops_a_parameter: float
    trains: bool = False


def measured(run: Path) -> Shape:
    """The shape of a run, over the iterations that have made their data.

    Raises:
        ConfigError: there is no run, or no iteration has made its data.
    """
    found = read_run(run)
    iterations = [found.iteration(number) for number in range(1, found.recipe.iterations + 1)]
    done = [each for each in iterations if "data" in each.steps() and "search" in each.steps()]
    if not done:
        raise ConfigError(f"--measured {run}: no iteration has searched and made its data yet")
    prompts = _sum(done, "prompts", "prompts")
    searches = _sum(done, "search", "items")
    answer = _sum(done, "sample", "completion_tokens") / _sum(done, "sample", "responses")
    vote = _sum(done, "judge", "completion_tokens") / _sum(done, "judge", "votes")
    refinements = [tokens for each in done for tokens in _refinement_tokens(each)]
    kinds = [row["kind"] for each in done for row in read_rows(each.file("rft.jsonl"), needs=("kind",))]
    return Shape(
        responses=_sum(done, "sample", "responses") / prompts,
        negatives=searches / prompts,
        nodes=_sum(done, "search", "nodes") / searches,
        accepted=_sum(done, "search", "accepted") / searches,
        rows={kind: kinds.count(kind) / prompts for kind in sorted(set(kinds))},
        judgement=vote / answer,
        refinement=sum(refinements) / len(refinements) / answer,
    )


def steps_of(recipe: Recipe, shape: Shape | None, *, prompt_tokens: float, answer_tokens: float) -> list[Step]:
    """The steps of an iteration; without a shape, their upper bounds: every search complete, every call at its maximum
    length, every kind of row at its cap.
    """
    lengths = _lengths(recipe, shape, prompt_tokens, answer_tokens)
    prompts, votes = recipe.prompts.per_iteration, recipe.judge.votes
    answers = prompts * recipe.sample.responses
    searches = prompts * (shape.negatives_of(recipe.sample.responses) if shape else 1)
    nodes = searches * (shape.nodes if shape else recipe.search.budget)
    # In a tree, refinements are judged and refined.
    deep = lengths if shape else replace(lengths, answer=float(recipe.search.max_tokens))
    return [
        _calls("sample", answers, answers * lengths.prompt, lengths.answer),
        _calls("judge", answers * votes, answers * lengths.judge_prompt, lengths.judgement),
        _calls("search: refinements", nodes, nodes * deep.refine_prompt, deep.refinement),
        _calls("search: judgements", nodes * votes, nodes * deep.judge_prompt, deep.judgement),
        _actor(recipe, searches * (shape.accepted if shape else 1), lengths),
        _refiner(recipe, shape, lengths),
    ]


def gpu_hours(recipe: Recipe, step: Step) -> float | None:
    """The hours on one GPU; None if the recipe lacks the parameters or the peak."""
    resources = recipe.resources
    if resources.parameters is None or resources.peak_flops is None:
        return None
    share = resources.training_utilization if step.trains else resources.serving_utilization
    return step.flops_a_parameter * resources.parameters / (resources.peak_flops * share) / 3600


def page(recipe: Recipe, run: Path | None, *, prompt_tokens: float, answer_tokens: float) -> str:
    """The tables, as Markdown."""
    shape = measured(run) if run else None
    lines = [*_assumptions(recipe, shape, run, prompt_tokens, answer_tokens)]
    for title, chosen in (("Expected", shape), ("At most", None)):
        if chosen is None and title == "Expected":
            continue
        steps = steps_of(recipe, chosen, prompt_tokens=prompt_tokens, answer_tokens=answer_tokens)
        lines += ["", *_table(recipe, title, steps)]
    return "\n".join(lines)


def _sum(iterations: Iterable[Iteration], step: str, key: str) -> float:
    return float(sum(each.steps()[step][key] for each in iterations))


def _refinement_tokens(iteration: Iteration) -> Iterator[int]:
    for row in read_rows(iteration.file("searches.jsonl"), needs=("trace",)):
        yield from (node["usage"]["completion_tokens"] for node in row["trace"]["nodes"][1:] if "usage" in node)


def _lengths(recipe: Recipe, shape: Shape | None, prompt: float, answer: float) -> Lengths:
    texts = load_templates(recipe.templates).texts
    judge, refine = (len(texts[name].split()) * _TOKENS_A_WORD for name in ("judge", "refine"))
    if shape is None:
        longest = (recipe.sample.max_tokens, recipe.judge.max_tokens, recipe.search.max_tokens)
        return Lengths(prompt, *longest, judge=judge, refine=refine)
    return Lengths(prompt, answer, shape.judgement * answer, shape.refinement * answer, judge, refine)


def _calls(name: str, calls: float, prompt_tokens: float, each: float) -> Step:
    return Step(name, calls, prompt_tokens, calls * each, 2 * (prompt_tokens + calls * each))


def _actor(recipe: Recipe, rows: float, lengths: Lengths) -> Step:
    job = job_for(recipe, Iteration(1, Path("run")), "actor", start=Path("start"))
    rows = min(rows, recipe.actor_data.max_pairs_in(1) or rows)
    # Both sides of a pair, each with the prompt; the reference model reads them once.
    tokens = rows * 2 * min(lengths.prompt + lengths.answer, job.max_length)
    flops = tokens * (job.epochs * (8 if job.gradient_checkpointing else 6) + 2)
    return Step("train the actor", rows, tokens * job.epochs, 0, flops, trains=True)


def _refiner(recipe: Recipe, shape: Shape | None, lengths: Lengths) -> Step:
    job = job_for(recipe, Iteration(1, Path("run")), "refiner", start=Path("start"))
    rows = tokens = 0.0
    for kind, cap in recipe.refiner_data.caps().items():
        count = min(cap, shape.rows.get(kind, 0) * recipe.prompts.per_iteration) if shape else cap
        length = lengths.judge_prompt + lengths.judgement
        if kind == "refinement":
            length = lengths.refine_prompt + lengths.refinement
        rows, tokens = rows + count, tokens + count * min(length, job.max_length)
    tokens *= job.epochs
    return Step("train the refiner", rows, tokens, 0, tokens * (8 if job.gradient_checkpointing else 6), trains=True)


def _assumptions(recipe: Recipe, shape: Shape | None, run: Path | None, prompt: float, answer: float) -> Iterator[str]:
    yield f"{recipe.name}, one iteration of {recipe.prompts.per_iteration:,} prompts."
    yield f"Given: {prompt:g} tokens per prompt, {answer:g} per answer; templates {recipe.templates}."
    if shape:
        rows = ", ".join(f"{kind} {count:.3f}" for kind, count in shape.rows.items())
        yield (
            f"Measured in {run}: of {shape.responses:g} answers to a prompt, {shape.negatives:.3f} of the prompts have "
            f"a negative; {shape.nodes:.2f} nodes a search, {shape.accepted:.3f} of the searches accepted; a judgement "
            f"is {shape.judgement:.2f} and a refinement {shape.refinement:.2f} times as long as an answer; the "
            f"refiner's rows for each prompt: {rows}."
        )
    resources = recipe.resources
    if resources.parameters and resources.peak_flops:
        rate = resources.peak_flops * resources.serving_utilization / (2 * resources.parameters)
        yield (
            f"Assumed: {resources.parameters / 1e9:g}B parameters on {resources.gpu}, {resources.peak_flops / 1e12:g} "
            f"TFLOPS at its peak, of which serving reaches {resources.serving_utilization:.0%} ({rate:,.0f} tokens per "
            f"second and GPU, read and generated together) and training {resources.training_utilization:.0%}."
        )


def _table(recipe: Recipe, title: str, steps: list[Step]) -> Iterator[str]:
    yield f"| {title} | calls or rows | tokens read (M) | generated (M) | GPU-hours |"
    yield "|---|--:|--:|--:|--:|"
    hours = [gpu_hours(recipe, step) for step in steps]
    for step, spent in zip(steps, hours, strict=True):
        yield _row(step.name, f"{step.calls:,.0f}", step.prompt_tokens, step.generated, spent)
    read, made = (sum(getattr(step, name) for step in steps) for name in ("prompt_tokens", "generated"))
    total = None if None in hours else sum(hour or 0 for hour in hours)
    yield _row("an iteration", "", read, made, total)
    count = recipe.iterations
    yield _row(f"all {count}", "", read * count, made * count, total and total * count)
    if total:
        yield ""
        days = total * count / recipe.resources.gpus / 24
        yield f"On {recipe.resources.gpus} GPUs that is {days:,.1f} days if none of them idles."


def _row(name: str, calls: str, read: float, made: float, hours: float | None) -> str:
    shown: Any = "" if hours is None else f"{hours:,.1f}"
    return f"| {name} | {calls} | {read / 1e6:,.1f} | {made / 1e6:,.1f} | {shown} |"
