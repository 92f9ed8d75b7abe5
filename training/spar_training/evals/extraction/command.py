"""`spar eval extraction`: extract checklists from annotated prompts and compare."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

from spar_core.budget import Budget
from spar_core.checklist import ChecklistJudge, Extractor, ModelExtractor, RuleExtractor
from spar_core.checklist.items import add_extracted
from spar_core.checks import Check, build_check
from spar_core.errors import ConfigError
from spar_core.types import Message
from spar_training.bootstrap.verifiers.prompts.constrained import constrained_prompts
from spar_training.bootstrap.verifiers.prompts.tasks import own_tasks
from spar_training.evals.datasets import data_file, data_folder
from spar_training.evals.extraction import scoring
from spar_training.evals.extraction.scoring import Extracted
from spar_training.evals.ifeval.scoring import FILE, Prompt, read_prompts
from spar_training.evals.run_folder import finish, prepare_folder
from spar_training.evals.subject import Question, Subject, by_id, run_requests
from spar_training.reports.intervals import Interval
from spar_training.reports.page import Report, Section, Table, setup_section
from spar_training.reports.result import Result

Source = Literal["validation", "ifeval"]
# Constrained prompts for each task of the validation split, about one task in eight.
_EACH: Final = 4
_TASKS: Final = 1_000_000


def read_source(name: str) -> Source:
    """The source with this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in get_args(Source):
        raise ConfigError(f"--source {name}: is none of {', '.join(get_args(Source))}")
    return cast(Source, name)


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """`source` are the annotated prompts: validation prompts of the verifier bootstrap, or IFEval's."""

    source: Source = "validation"
    limit: int | None = None
    seed: int = 0


def run(asked: Extraction, *, subject: Subject | None, data: Path | None, out: Path) -> None:
    """Measure the rules, and with `subject` the rules followed by that model.

    Raises:
        ConfigError: the data set is missing, or `out` holds another evaluation.
        DataError: a line of the data set is malformed.
        BackendUnavailable: the model does not answer.
    """
    prompts = _prompts(asked, data)[: asked.limit]
    config: dict[str, Any] = {
        "benchmark": "extraction",
        "source": asked.source,
        "prompts": len(prompts),
        "seed": asked.seed,
        "extractors": ["rules"] if subject is None else ["rules", "model"],
    }
    if subject is not None:
        config |= subject.config()
    prepare_folder(out, config)
    models, extracted = asyncio.run(_extract(prompts, subject, out / "checklists.jsonl"))
    measured, types = scoring.figures(extracted), scoring.by_type(extracted)
    of_types = {
        f"{id}/{name}": value
        for id, pair in types.items()
        for name, value in zip(("precision", "recall"), pair, strict=True)
    }
    result = Result(
        name="extraction",
        config=config,
        models=models,
        figures={**measured, **of_types},
        items=[one.row() for one in extracted],
    )
    finish(out, result, _report(result, measured, types))


def _prompts(asked: Extraction, data: Path | None) -> list[Prompt]:
    if asked.source == "ifeval":
        return read_prompts(data_file(data_folder(data), FILE))
    tasks = own_tasks(_TASKS, seed=asked.seed)
    return [
        Prompt(one.id, one.text, tuple(constraint.check for constraint in one.constraints))
        for one in constrained_prompts(tasks, "validation", each=_EACH, seed=asked.seed)
    ]


async def _extract(
    prompts: Sequence[Prompt], subject: Subject | None, out: Path
) -> tuple[Mapping[str, Mapping[str, Any]], list[Extracted]]:
    if subject is None:
        rules = RuleExtractor()
        extracted = []
        for prompt in prompts:
            extraction = await rules.extract([Message("user", prompt.text)], [], budget=Budget())
            items, _ = add_extracted([], extraction.items)
            found = tuple(item.check for item in items if item.check is not None)
            extracted.append(Extracted(prompt.key, prompt.checks, found))
        return {}, extracted
    async with subject.open() as backend:
        extractors: list[Extractor] = [RuleExtractor(), ModelExtractor(backend=backend, sampling=subject.sampling)]
        judge = ChecklistJudge(backend=backend, extractors=extractors)

        async def extract(question: Question) -> dict[str, Any]:
            checklist = await judge.checklist(question.messages)
            checks = [item.check for item in checklist.extracted if item.check is not None]
            return {
                "checks": [{"id": check.id, "kwargs": dict(check.kwargs)} for check in checks],
                "words": [item.requirement for item in checklist.in_words],
                "dropped": [each.reason for each in checklist.dropped],
                "problem": checklist.problem,
            }

        questions = [Question.of(prompt.key, prompt.text) for prompt in prompts]
        rows = by_id(await run_requests(questions, extract, out=out, in_flight=subject.in_flight, label="checklists"))
        models = {"model": await subject.lineage()}
    return models, [Extracted(prompt.key, prompt.checks, _checks(rows.get(prompt.key))) for prompt in prompts]


def _checks(row: Mapping[str, Any] | None) -> tuple[Check, ...]:
    return tuple(build_check(check["id"], check["kwargs"]) for check in (row["checks"] if row else ()))


def _report(result: Result, measured: Mapping[str, Interval], types: Mapping[str, tuple[Interval, Interval]]) -> Report:
    summary = (
        f"{measured['precision'].percent()} percent of the {measured['precision'].n} extracted checks are annotated "
        f"with equal kwargs, and {measured['recall'].percent()} percent of the {measured['recall'].n} annotated ones "
        f"are extracted, over {measured['complete'].n} prompts. Intervals are 95% Wilson intervals."
    )
    rows = [[label, measured[name].percent(), str(measured[name].n)] for name, label in scoring.FIGURES.items()]
    by_type = [
        [id, precision.percent(), str(precision.n), recall.percent(), str(recall.n)]
        for id, (precision, recall) in types.items()
    ]
    return Report(
        f"Extraction of checklists: {result.config['source']}",
        summary,
        [
            Section("Extraction", "", [Table(["share, percent", "value [95% interval]", "of"], rows, "Extraction")]),
            Section(
                "By type",
                "",
                [Table(["type", "precision", "extracted", "recall", "annotated"], by_type, "Equal kwargs, percent")],
            ),
            setup_section(result),
        ],
    )
