"""`spar eval agreement`: compare the checks with IFEval's own checker and list the differences."""

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
from spar_training.evals.agreement.compare import Comparison, compare
from spar_training.evals.agreement.reference import open_reference
from spar_training.evals.datasets import data_file, data_folder
from spar_training.evals.ifeval import scoring
from spar_training.evals.run_folder import finish, prepare_folder
from spar_training.evals.subject import Question, Subject, ask
from spar_training.reports.page import Report, Section, Table, setup_section
from spar_training.reports.result import Result, model_lineage
from spar_training.world.example import draw_example

_MAX_ROWS: Final = 40
_EXCERPT: Final = 200


def run(*, data: Path | None, each: int, answers: int, seed: int, out: Path) -> None:
    """Compare on `each` constructed responses per instruction, on other texts, and on `answers` of the shipped actor.

    Raises:
        ConfigError: a data file is missing, or `out` holds another comparison.
    """
    folder = data_folder(data)
    config = {"benchmark": "agreement", "data": str(folder), "each": each, "answers": answers, "seed": seed}
    prepare_folder(out, config)
    actor = shipped_pair() / "actor"
    actor_answers = asyncio.run(_answers(actor, answers, seed, out / "answers.jsonl")) if answers else []
    all_cases = _cases(folder, actor_answers, each=each, seed=seed)
    with open_reference(folder) as reference, _progress_bar(len(all_cases)) as on_case:
        compared = compare(all_cases, reference, on_case)
    differing = [one for one in compared if not one.agree]
    result = Result(
        name="agreement",
        config=config,
        models={"actor": model_lineage(actor)},
        figures=_figures(compared),
        items=[_row(number, one) for number, one in enumerate(differing)],
    )
    finish(out, result, _report(result, compared, differing))


def _cases(data: Path, actor_answers: Sequence[str], *, each: int, seed: int) -> list[cases.Case]:
    instructions = cases.read_instructions(data_file(data, scoring.FILE))
    written = corpus.real_texts(data)
    return [
        *cases.constructed_cases(instructions, each=each, seed=seed),
        *cases.text_cases("texts of other data sets", written, instructions, each=1, seed=seed),
        *cases.text_cases("the same, damaged", cases.damage_texts(written, seed=seed), instructions, each=1, seed=seed),
        *cases.text_cases("the shipped actor's answers", actor_answers, instructions, each=10, seed=seed),
    ]


async def _answers(actor: Path, count: int, seed: int, out: Path) -> list[str]:
    """Return the actor's answers to prompts of the synthetic world."""
    subject = Subject(model=str(actor), sampling=Sampling(temperature=0.9, top_p=0.9, max_tokens=256), seed=seed)
    questions = [Question.of(str(n), draw_example("held_out", n).prompt.text) for n in range(count)]
    async with subject.open() as backend:
        rows = await ask(questions, backend, subject, out=out, label="answers")
    return [row["response"] for row in rows]


@contextmanager
def _progress_bar(total: int) -> Iterator[Callable[[], None]]:
    with Progress(console=Console(stderr=True)) as bars:
        task = bars.add_task("cases", total=total)
        yield lambda: bars.advance(task)


def _figures(compared: Sequence[Comparison]) -> dict[str, float]:
    modes = {"strict": False, "loose": True}
    by_mode = {mode: [one for one in compared if one.loose is loose] for mode, loose in modes.items()}
    figures = {mode: _share(ones) for mode, ones in by_mode.items()}
    figures["all"] = _share(compared)
    figures["without drawn letters"] = _share([one for one in compared if not one.randomized])
    return figures


def _share(compared: Sequence[Comparison]) -> float:
    return sum(one.agree for one in compared) / len(compared)


def _row(number: int, one: Comparison) -> dict[str, object]:
    return {
        "id": str(number),
        "source": one.case.source,
        "instruction": one.case.instruction.id,
        "kwargs": dict(one.case.instruction.kwargs),
        "loose": one.loose,
        "ours": one.ours,
        "theirs": one.theirs,
        "response": one.case.response,
    }


def _report(result: Result, compared: Sequence[Comparison], differing: Sequence[Comparison]) -> Report:
    randomized = sum(one.randomized for one in differing)
    agreed = len(compared) - len(differing)
    summary = (
        f"{agreed:,} of {len(compared):,} verdicts agree ({agreed / len(compared):.3%}) over "
        f"{len(compared) // 2:,} pairs of an IFEval instruction and a response, each checked strictly and loosely.\n\n"
        f"{randomized} of the {len(differing)} differences concern a letter frequency whose character is not a letter "
        "(`#`, `!`): the reference replaces it by a random letter."
    )
    header = ["", "verdicts", "followed", "not followed", "differences", "agreement, percent"]
    sources = dict.fromkeys(one.case.source for one in compared)
    by_source = [_counts(name, [one for one in compared if one.case.source == name]) for name in sources]
    types = sorted({one.case.instruction.id for one in compared})
    by_type = [_counts(name, [one for one in compared if one.case.instruction.id == name]) for name in types]
    shown = sorted(differing, key=lambda one: one.randomized)[:_MAX_ROWS]
    differences = Table(
        ["source", "type", "mode", "ours", "reference", "response"], list(map(_difference_row, shown)), "Differences"
    )
    return Report(
        "Checks compared with IFEval's own checker",
        summary,
        [
            Section("By source", "", [Table(header, by_source)]),
            Section("By instruction type", "", [Table(header, by_type)]),
            *([Section("Differences", "", [differences])] if shown else []),
            setup_section(result),
        ],
    )


def _difference_row(one: Comparison) -> list[str]:
    mode, response = "loose" if one.loose else "strict", repr(one.case.response[:_EXCERPT])
    return [one.case.source, one.case.instruction.id, mode, str(one.ours), str(one.theirs), response]


def _counts(name: str, ones: Sequence[Comparison]) -> list[str]:
    differing = sum(not one.agree for one in ones)
    followed = sum(one.theirs is True for one in ones)
    share = f"{100 * (1 - differing / len(ones)):.3f}"
    return [name, f"{len(ones):,}", f"{followed:,}", f"{len(ones) - followed:,}", str(differing), share]
