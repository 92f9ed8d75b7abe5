"""`spar eval agreement`: compare the checks with IFEval's own checker, and show where they differ."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import Progress

from spar_core.model_folder import shipped_pair
from spar_core.types import Sampling
from spar_training.evals.agreement import cases, corpus
from spar_training.evals.agreement.compare import Compared, compare
from spar_training.evals.agreement.reference import opened_reference
from spar_training.evals.datasets import data_file, data_folder
from spar_training.evals.ifeval import scoring
from spar_training.evals.run_folder import claim, finish
from spar_training.evals.subject import Question, Subject, ask
from spar_training.reports.page import Report, Section, Table, setup_section
from spar_training.reports.result import Result, of_folder
from spar_training.world.example import draw_example

_SHOWN: Final = 40
_EXCERPT: Final = 200


def run(*, data: Path | None, each: int, answers: int, seed: int, out: Path) -> None:
    """Compare on `each` constructed responses an instruction, on other texts, and on `answers` of the shipped actor.

    Raises:
        ConfigError: a data file or lm-eval is missing, or `out` holds another comparison.
    """
    folder = data_folder(data)
    config = {"benchmark": "agreement", "data": str(folder), "each": each, "answers": answers, "seed": seed}
    claim(out, config)
    actor = shipped_pair() / "actor"
    own = asyncio.run(_answers(actor, answers, seed, out / "answers.jsonl")) if answers else []
    compared_pairs = _pairs(folder, own, each=each, seed=seed)
    with opened_reference(folder) as reference, _bar(len(compared_pairs)) as tell:
        compared = compare(compared_pairs, reference, tell)
    differing = [one for one in compared if not one.agree]
    result = Result(
        name="agreement",
        config=config,
        models={"actor": of_folder(actor)},
        figures=_figures(compared),
        items=[_row(number, one) for number, one in enumerate(differing)],
    )
    finish(out, result, _report(result, compared, differing))


def _pairs(data: Path, own: Sequence[str], *, each: int, seed: int) -> list[cases.Pair]:
    instructions = cases.read_instructions(data_file(data, scoring.FILE))
    written = corpus.real_texts(data)
    return [
        *cases.constructed_pairs(instructions, each=each, seed=seed),
        *cases.text_pairs("texts of other data sets", written, instructions, each=1, seed=seed),
        *cases.text_pairs("the same, damaged", cases.damaged(written, seed=seed), instructions, each=1, seed=seed),
        *cases.text_pairs("the shipped actor's answers", own, instructions, each=10, seed=seed),
    ]


async def _answers(actor: Path, count: int, seed: int, out: Path) -> list[str]:
    """What the actor answers to prompts of its world."""
    subject = Subject(model=str(actor), sampling=Sampling(temperature=0.9, top_p=0.9, max_tokens=256), seed=seed)
    questions = [Question.of(str(n), draw_example("held_out", n).prompt.text) for n in range(count)]
    async with subject.opened() as backend:
        rows = await ask(questions, backend, subject, out=out, label="answers")
    return [row["response"] for row in rows]


@contextmanager
def _bar(total: int) -> Iterator[Callable[[], None]]:
    with Progress(console=Console(stderr=True)) as bars:
        task = bars.add_task("pairs", total=total)
        yield lambda: bars.advance(task)


def _figures(compared: Sequence[Compared]) -> dict[str, float]:
    modes = {"strict": False, "loose": True}
    named = {mode: [one for one in compared if one.loose is loose] for mode, loose in modes.items()}
    figures = {mode: _share(ones) for mode, ones in named.items()}
    figures["all"] = _share(compared)
    figures["without drawn letters"] = _share([one for one in compared if not one.drawn])
    return figures


def _share(compared: Sequence[Compared]) -> float:
    return sum(one.agree for one in compared) / len(compared)


def _row(number: int, one: Compared) -> dict[str, object]:
    return {
        "id": str(number),
        "source": one.pair.source,
        "instruction": one.pair.instruction.id,
        "kwargs": dict(one.pair.instruction.kwargs),
        "loose": one.loose,
        "ours": one.ours,
        "theirs": one.theirs,
        "response": one.pair.response,
    }


def _report(result: Result, compared: Sequence[Compared], differing: Sequence[Compared]) -> Report:
    drawn = sum(one.drawn for one in differing)
    agreed = len(compared) - len(differing)
    summary = (
        f"{agreed:,} of {len(compared):,} verdicts agree ({agreed / len(compared):.3%}) over "
        f"{len(compared) // 2:,} pairs of an instruction of IFEval and a response, each strictly and loosely.\n\n"
        f"{drawn} of the {len(differing)} differences are on a letter that is none (`#`, `!`): the reference draws "
        "another one in its place."
    )
    header = ["", "verdicts", "followed", "not followed", "differences", "agreement, percent"]
    sources = dict.fromkeys(one.pair.source for one in compared)
    by_source = [_counts(name, [one for one in compared if one.pair.source == name]) for name in sources]
    types = sorted({one.pair.instruction.id for one in compared})
    by_type = [_counts(name, [one for one in compared if one.pair.instruction.id == name]) for name in types]
    told = sorted(differing, key=lambda one: one.drawn)[:_SHOWN]
    differences = Table(
        ["source", "type", "mode", "ours", "reference", "response"], list(map(_told, told)), "Differences"
    )
    return Report(
        "Checks compared with IFEval's own checker",
        summary,
        [
            Section("By source", "", [Table(header, by_source)]),
            Section("By instruction type", "", [Table(header, by_type)]),
            *([Section("Differences", "", [differences])] if told else []),
            setup_section(result),
        ],
    )


def _told(one: Compared) -> list[str]:
    mode, response = "loose" if one.loose else "strict", repr(one.pair.response[:_EXCERPT])
    return [one.pair.source, one.pair.instruction.id, mode, str(one.ours), str(one.theirs), response]


def _counts(name: str, ones: Sequence[Compared]) -> list[str]:
    differing = sum(not one.agree for one in ones)
    followed = sum(one.theirs is True for one in ones)
    share = f"{100 * (1 - differing / len(ones)):.3f}"
    return [name, f"{len(ones):,}", f"{followed:,}", f"{len(ones) - followed:,}", str(differing), share]
