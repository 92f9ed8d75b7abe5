"""`spar eval ifeval`: query a model with IFEval's prompts, or read its responses from a file, and score them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from spar_core.errors import ConfigError
from spar_training.evals.datasets import data_file, data_folder
from spar_training.evals.ifeval import scoring
from spar_training.evals.ifeval.scoring import Prompt
from spar_training.evals.run_folder import finish, prepare_folder
from spar_training.evals.subject import Question, Subject, ask, by_id
from spar_training.reports.intervals import Interval
from spar_training.reports.page import Figure, Report, Section, Table, setup_section
from spar_training.reports.plots import Bars, bar_plot
from spar_training.reports.result import Result
from spar_training.storage.files import Row

_LABELS: Final = {
    "prompt_strict": "prompt level, strict",
    "instruction_strict": "instruction level, strict",
    "prompt_loose": "prompt level, loose",
    "instruction_loose": "instruction level, loose",
    "mean": "mean of the four",
}


def run(
    *,
    subject: Subject | None,
    responses: Path | None,
    data: Path | None,
    prompts: Path | None,
    limit: int | None,
    own_checks: bool = False,
    out: Path,
) -> None:
    """Measure `subject`, or score the file `responses`; exactly one of them must be given.

    `prompts` is a file in IFEval's format to use instead of the one in the data folder. With `own_checks`, a request
    names the checks of its prompt, as a client would that knows them.

    Raises:
        ConfigError: both or neither are given, a file is missing, or `out` holds another evaluation.
        DataError: a line of a file is malformed.
        BackendError: the model does not answer.
    """
    if (subject is None) == (responses is None):
        raise ConfigError("give either --url and --model (or a --model folder), or --responses")
    if own_checks and (subject is None or not subject.sampling.extra.get("refine_budget")):
        raise ConfigError("--own-checks: needs a --url and a --refine-budget of at least 1")
    file = prompts or data_file(data_folder(data), scoring.FILE)
    known = scoring.read_prompts(file)
    used = known[:limit]
    config: dict[str, Any] = {"benchmark": "ifeval", "prompts": len(used), "prompts_file": str(file)}
    if subject is not None:
        config |= {**subject.config(), **({"own_checks": True} if own_checks else {})}
        prepare_folder(out, config)
        models, rows = asyncio.run(_query(used, subject, out / "answers.jsonl", own_checks=own_checks))
        texts = {row["id"]: row["response"] for row in rows.values()}
    else:
        assert responses is not None
        # Despite a limit the file may have responses to all known prompts.
        texts = scoring.read_responses(responses, known)
        config |= {"responses": str(responses)}
        prepare_folder(out, config)
        models, rows = {"model": {"responses": str(responses)}}, {}
    scored = scoring.score(used, texts)
    measured, types = scoring.figures(scored), scoring.by_type(scored)
    of_types = {f"{id}/{mode}": value for id, pair in types.items() for mode, value in pair.items()}
    result = Result(
        name="ifeval",
        config=config,
        models=models,
        figures={**measured, **of_types},
        items=[{**one.row(), **_completion_fields(rows.get(one.prompt.key))} for one in scored],
    )
    finish(out, result, _report(result, measured, types, missing=sum(one.response is None for one in scored)))


async def _query(
    prompts: Sequence[Prompt], subject: Subject, out: Path, *, own_checks: bool
) -> tuple[dict[str, dict[str, Any]], Mapping[str, Row]]:
    async with subject.open() as backend:
        questions = [
            Question.of(prompt.key, prompt.text, **({"checks": _as_sent(prompt)} if own_checks else {}))
            for prompt in prompts
        ]
        rows = await ask(questions, backend, subject, out=out, label="ifeval")
        return {"model": await subject.lineage()}, by_id(rows)


def _as_sent(prompt: Prompt) -> list[Row]:
    """The checks of a prompt as a request names them."""
    return [{"id": check.id, "kwargs": dict(check.kwargs)} for check in prompt.checks]


def _completion_fields(row: Row | None) -> Row:
    return {name: row[name] for name in ("finish_reason", "completion_tokens")} if row else {}


def _report(
    result: Result, measured: Mapping[str, Interval], types: Mapping[str, Mapping[str, Interval]], *, missing: int
) -> Report:
    summary = (
        f"Mean of the four accuracies: {measured['mean'].percent()} percent over {measured['prompt_strict'].n} prompts "
        f"with {measured['instruction_strict'].n} instructions. Intervals: 95%, over prompts."
    )
    if missing:
        summary += f"\n\n{missing} prompts have no response and count as not followed."
    metrics = [[label, measured[name].percent()] for name, label in _LABELS.items()]
    rows = [[id, str(of["strict"].n), of["strict"].percent(), of["loose"].percent()] for id, of in types.items()]
    bars = [Bars(mode, [of[mode] for of in types.values()]) for mode in ("strict", "loose")]
    figure = Figure(
        bar_plot(list(types), bars, y_label="followed, percent"),
        "Share of instructions followed, by type; the whiskers are 95% intervals.",
        "Bars of strict and loose accuracy for each IFEval instruction type",
    )
    by_type = Table(["type", "instructions", "strict", "loose"], rows, "Percent with 95% intervals")
    return Report(
        f"IFEval: {result.config.get('model', result.config.get('responses'))}",
        summary,
        [
            Section("Accuracy", "", [Table(["accuracy, percent", "value [95% interval]"], metrics, "IFEval")]),
            Section("By instruction type", "", [by_type], [figure]),
            setup_section(result),
        ],
    )
