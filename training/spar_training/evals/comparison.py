"""`spar eval compare`: finished evaluations side by side, in a table for each benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from spar_core.errors import ConfigError
from spar_training.evals.ifeval.scoring import METRICS, Counts, mean_of_four, strict_mean
from spar_training.reports.intervals import Interval, difference_interval, statistic_interval
from spar_training.reports.page import Report, Section, Table, markdown_table
from spar_training.reports.result import Result, read_result
from spar_training.reports.terminal import print_report
from spar_training.storage.files import write_text


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished evaluation, under the name that it has in the tables."""

    name: str
    result: Result

    def figure(self, key: str) -> str:
        """A figure in percent with its interval; a dash if it was not measured."""
        found = self.result.figures.get(key)
        return found.percent() if isinstance(found, Interval) else "–"

    @property
    def counts(self) -> dict[str, Counts]:
        """Of IFEval: what each prompt's response follows, by the prompt's id."""
        return {str(row["id"]): Counts.of(row["strict"], row["loose"]) for row in self.result.items}

    @property
    def right(self) -> dict[str, float]:
        """Of general tasks: 1 for each item that was answered right, otherwise 0."""
        return {row["id"]: float(row["right"]) for row in self.result.items}


def run(runs: Sequence[str], *, docs: Path | None, console: Console | None = None) -> None:
    """Print a table for each benchmark of the `NAME=FOLDER` in `runs`, and write them to `docs`.

    Raises:
        ConfigError: a run is not NAME=FOLDER, its benchmark cannot be compared, or it has other prompts than the first.
        DataError: a folder has no result.
    """
    by_benchmark: dict[str, list[Evaluation]] = {}
    for one in map(_read, runs):
        by_benchmark.setdefault(one.result.name, []).append(one)
    tables = [table for name, some in by_benchmark.items() for table in _TABLES[name](some)]
    sections = [Section(table.caption, tables=[table]) for table in tables]
    print_report(Report("Comparison", "", sections), console or Console())
    if docs is not None:
        write_text(docs, "\n".join(f"*{table.caption}*\n\n{markdown_table(table)}\n" for table in tables))


def ifeval_tables(evaluations: Sequence[Evaluation]) -> list[Table]:
    """The accuracies of each evaluation, and the difference of its mean from the first's with its interval.

    Raises:
        ConfigError: evaluations have different prompts.
    """
    first = evaluations[0]
    counts = [one.counts for one in evaluations]
    for other, of in zip(evaluations, counts, strict=True):
        if of.keys() != counts[0].keys():
            raise ConfigError(
                f"{other.name}: has other prompts than {first.name} ({len(of):,} and {len(counts[0]):,}); "
                "compare evaluations of the same prompts"
            )
    rows = []
    for one, of in zip(evaluations, counts, strict=True):
        two = statistic_interval(list(of.values()), strict_mean)
        gain = "" if one is first else difference(counts[0], of).signed()
        rows.append([one.name, *map(one.figure, METRICS), one.figure("mean"), two.percent(), gain])
    header = ["", "P(S)", "I(S)", "P(L)", "I(L)", "mean of four", "mean of P(S), I(S)", f"against {first.name}"]
    return [Table(header, rows, f"IFEval, {len(counts[0]):,} prompts: percent with 95% intervals, over prompts")]


def difference(before: Mapping[str, Counts], after: Mapping[str, Counts]) -> Interval:
    """The paired difference of the means of the four accuracies."""
    pairs = [(counts, after[id]) for id, counts in before.items()]

    def gain(drawn: Sequence[tuple[Counts, Counts]]) -> float:
        return mean_of_four([new for _, new in drawn]) - mean_of_four([old for old, _ in drawn])

    return statistic_interval(pairs, gain, lowest=-1.0)


def judge_tables(evaluations: Sequence[Evaluation]) -> list[Table]:
    """How right each judge is, how many of its judgements have no verdict, and what one costs."""
    keys = ("judge_balanced", "judge_on_good", "judge_on_bad")
    rows = []
    for one in evaluations:
        items = one.result.items
        unread = sum(row["value"] is None for row in items)
        tokens = sum(row["tokens"] for row in items) / len(items)
        rows.append([one.name, *map(one.figure, keys), str(unread), f"{tokens:,.0f}"])
    header = ["", "balanced", "on good answers", "on bad answers", "without a verdict", "tokens a judgement"]
    return [Table(header, rows, "Judge on its actor's answers to IFEval: percent right with 95% intervals")]


def followbench_tables(evaluations: Sequence[Evaluation]) -> list[Table]:
    """The means of the five levels."""
    scored = [sum(row["satisfied"] is not None for row in one.result.items) for one in evaluations]
    rows = [
        [one.name, str(n), one.figure("all/ssr"), one.figure("all/hsr")]
        for one, n in zip(evaluations, scored, strict=True)
    ]
    header = ["", "instructions scored", "SSR", "HSR"]
    return [Table(header, rows, "FollowBench: percent with 95% intervals, means of the five levels")]


def llmbar_tables(evaluations: Sequence[Evaluation]) -> list[Table]:
    """The accuracy by subset with all votes."""
    rows = []
    for one in evaluations:
        votes = one.result.config["votes"]
        subsets = [one.figure(f"{name}/accuracy@{votes}") for name in ("Natural", "Adversarial", "Average")]
        rows.append([one.name, str(votes), *subsets])
    header = ["", "votes", "Natural", "Adversarial", "Average"]
    return [Table(header, rows, "LLMBar, each output judged alone: percent right with 95% intervals")]


def general_tables(evaluations: Sequence[Evaluation]) -> list[Table]:
    """The accuracy of each task, and the paired differences from the first evaluation over the items that both have."""
    first = evaluations[0]
    tasks = list(dict.fromkeys(id.partition("/")[0] for id in first.right))
    accuracies = [[one.name, *map(one.figure, tasks)] for one in evaluations]
    differences = [[other.name, *_gains(first, other, tasks)] for other in evaluations[1:]]
    tables = [Table(["", *tasks], accuracies, "General tasks: percent right with 95% intervals")]
    if differences:
        caption = f"General tasks: points against {first.name}, paired, with 95% intervals"
        tables.append(Table(["", *tasks], differences, caption))
    return tables


def _gains(before: Evaluation, after: Evaluation, tasks: Sequence[str]) -> list[str]:
    gained: dict[str, list[float]] = {task: [] for task in tasks}
    now = after.right
    for id, right in before.right.items():
        if id in now:
            gained[id.partition("/")[0]].append(now[id] - right)
    return [difference_interval(values).signed() for values in gained.values()]


_TABLES: Final[Mapping[str, Callable[[Sequence[Evaluation]], list[Table]]]] = {
    "ifeval": ifeval_tables,
    "judge": judge_tables,
    "followbench": followbench_tables,
    "llmbar": llmbar_tables,
    "general": general_tables,
}


def _read(given: str) -> Evaluation:
    name, equals, folder = given.partition("=")
    if not equals or not name or not folder:
        raise ConfigError(f"{given!r}: must be NAME=FOLDER, such as base=runs/ifeval-base")
    result = read_result(Path(folder) / "result.json")
    if result.name not in _TABLES:
        raise ConfigError(f"{folder}: an evaluation of {result.name}; those of {', '.join(_TABLES)} can be compared")
    return Evaluation(name, result)
