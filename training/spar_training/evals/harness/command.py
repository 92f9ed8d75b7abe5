"""`spar eval general`: GSM8K, TriviaQA, MMLU and HumanEval, with losses and gains compared with a baseline."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from spar_core.errors import ConfigError
from spar_training.evals.datasets import data_folder
from spar_training.evals.harness.evaluation import General, evaluate
from spar_training.evals.harness.sandbox import isolation
from spar_training.evals.run_folder import finish, prepare_folder
from spar_training.evals.subject import Subject
from spar_training.reports.intervals import Interval, difference_interval, interval, stratified_interval
from spar_training.reports.page import Report, Section, Table, setup_section
from spar_training.reports.result import Result, read_result
from spar_training.storage.files import Row

_NOTE: Final = (
    "All tasks are zero-shot chats, scored by generation, including MMLU, since a chat API gives no likelihoods of the "
    "options. Compare the figures with each other, not with published few-shot ones."
)


def run(subject: Subject, settings: General, *, baseline: Path | None, data: Path | None, out: Path) -> None:
    """Measure `subject`, and compare it item by item with the result file `baseline`.

    Raises:
        ConfigError: a setting is wrong, a file is missing, or the baseline has none of the items.
        DataError: the baseline is not a result.
        BackendError: the server does not answer.
    """
    folder = data_folder(data)
    before = _baseline(baseline) if baseline else None
    config = {
        "benchmark": "general",
        **subject.config(),
        "tasks": list(settings.tasks),
        "limit": settings.limit,
        "code": "in namespaces"
        if settings.allow_code and isolation()
        else "bounded only"
        if settings.allow_code
        else "not run",
        "data": str(folder),
    }
    prepare_folder(out, config)
    rows = evaluate(subject, settings, data=folder, cache=out / "answers")
    by_task = _by_task(rows)
    accuracies = _with_mean(by_task)
    differences = _with_mean(_differences(by_task, before), differences=True) if before is not None else {}
    result = Result(
        name="general",
        config={**config, "baseline": str(baseline) if baseline else None},
        models={"model": asyncio.run(subject.lineage())},
        figures={**accuracies, **{f"{name}/difference": value for name, value in differences.items()}},
        items=rows,
    )
    finish(out, result, _report(result, accuracies, by_task, before, differences))


def _baseline(file: Path) -> dict[str, dict[str, float]]:
    result = read_result(file)
    if result.name != "general":
        raise ConfigError(f"--baseline {file}: this is a result of {result.name}; give one of `spar eval general`")
    return _by_task(result.items)


def _by_task(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    tasks: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        task, _, item = row["id"].partition("/")
        tasks[task][item] = float(row["right"])
    return tasks


def _differences(
    now: Mapping[str, Mapping[str, float]], before: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Return the difference of each item that both have."""
    paired = {
        task: {item: right - before[task][item] for item, right in items.items() if item in before[task]}
        for task, items in now.items()
        if task in before
    }
    if not any(paired.values()):
        raise ConfigError("--baseline: it has none of these items; give a result with the same --tasks")
    return {task: items for task, items in paired.items() if items}


def _with_mean(tasks: Mapping[str, Mapping[str, float]], *, differences: bool = False) -> dict[str, Interval]:
    """Return the mean of each task, and as `mean` the unweighted mean of the tasks."""
    one = difference_interval if differences else interval
    found = {task: one(list(items.values())) for task, items in tasks.items()}
    strata = [[[value] for value in items.values()] for items in tasks.values()]
    return {**found, "mean": stratified_interval(strata, lowest=-1.0 if differences else 0.0)}


def _report(
    result: Result,
    accuracies: Mapping[str, Interval],
    now: Mapping[str, Mapping[str, float]],
    before: Mapping[str, Mapping[str, float]] | None,
    differences: Mapping[str, Interval],
) -> Report:
    summary = f"Mean accuracy of the tasks: {accuracies['mean'].percent()} percent."
    if differences:
        summary += f" Paired difference from the baseline: {_signed(differences['mean'])} points."
    if refused := sum(item["response"] is None for item in result.items):
        summary += f"\n\nThe server refused {refused} prompts (e.g. as too long for the model); they count as wrong."
    rows = [[name, str(value.n), value.percent()] for name, value in accuracies.items()]
    sections = [Section("Accuracy", _NOTE, [Table(["task", "items", "accuracy, percent"], rows)])]
    if before is not None:
        # Over the items that both have, like the difference.
        baseline = _with_mean(
            {
                task: {item: right for item, right in before[task].items() if item in now[task]}
                for task in before
                if task in differences
            }
        )
        compared = [
            [name, str(d.n), baseline[name].percent(), _signed(d), _verdict(d)] for name, d in differences.items()
        ]
        header = ["task", "items in both", "baseline", "difference, points", ""]
        text = "Paired differences with 95% bootstrap intervals. An interval below zero is a loss."
        sections.append(Section("Regression", text, [Table(header, compared)]))
    return Report(f"General ability: {result.config['model']}", summary, [*sections, setup_section(result)])


def _signed(value: Interval) -> str:
    return f"{100 * value.mean:+.1f} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"


def _verdict(difference: Interval) -> str:
    if difference.high < 0:
        return "loss"
    return "gain" if difference.low > 0 else "no difference shown"
