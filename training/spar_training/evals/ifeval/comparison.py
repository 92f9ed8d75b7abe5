"""`spar eval compare`: several IFEval evaluations of the same prompts in one table, with paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from spar_core.errors import ConfigError
from spar_training.evals.ifeval.scoring import METRICS, Counts, mean_of_four, strict_mean
from spar_training.reports.intervals import Interval, statistic_interval
from spar_training.reports.page import Report, Section, Table, markdown_table
from spar_training.reports.result import read_result
from spar_training.reports.terminal import print_report
from spar_training.storage.files import write_text

_HEADER: Final = ("", "P(S)", "I(S)", "P(L)", "I(L)", "mean of four", "mean of P(S), I(S)", "against {first}")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished evaluation: what each prompt's response follows, by the prompt's id."""

    name: str
    counts: dict[str, Counts]
    figures: dict[str, Interval]


def run(runs: Sequence[str], *, docs: Path | None, console: Console | None = None) -> None:
    """Print the table of the `NAME=FOLDER` in `runs`, and write it to `docs`.

    Raises:
        ConfigError: a run is not NAME=FOLDER, or one has other prompts than the first.
        DataError: a folder has no result.
    """
    evaluations = [_read(given) for given in runs]
    first = evaluations[0]
    for other in evaluations[1:]:
        if other.counts.keys() != first.counts.keys():
            raise ConfigError(
                f"{other.name}: has other prompts than {first.name} ({len(other.counts):,} and {len(first.counts):,}); "
                "compare evaluations of the same prompts"
            )
    table = comparison(evaluations)
    print_report(Report("IFEval", "", [Section("Comparison", tables=[table])]), console or Console())
    if docs is not None:
        write_text(docs, markdown_table(table) + "\n")


def comparison(evaluations: Sequence[Evaluation]) -> Table:
    """The figures of each evaluation in percent, and the difference of its mean from the first's with its interval."""
    first = evaluations[0]
    rows = []
    for one in evaluations:
        four = [one.figures[metric].percent() for metric in METRICS]
        two = statistic_interval(list(one.counts.values()), strict_mean)
        gain = "" if one is first else difference(first, one).signed()
        rows.append([one.name, *four, one.figures["mean"].percent(), two.percent(), gain])
    header = [cell.format(first=first.name) for cell in _HEADER]
    n = len(first.counts)
    return Table(header, rows, f"IFEval, {n:,} prompts: percent with 95% intervals, which resample prompts")


def difference(before: Evaluation, after: Evaluation) -> Interval:
    """The paired difference of the means of the four accuracies."""
    pairs = [(counts, after.counts[id]) for id, counts in before.counts.items()]

    def gain(drawn: Sequence[tuple[Counts, Counts]]) -> float:
        return mean_of_four([new for _, new in drawn]) - mean_of_four([old for old, _ in drawn])

    return statistic_interval(pairs, gain, lowest=-1.0)


def _read(given: str) -> Evaluation:
    name, equals, folder = given.partition("=")
    if not equals or not name or not folder:
        raise ConfigError(f"{given!r}: must be NAME=FOLDER, such as base=runs/ifeval-base")
    result = read_result(Path(folder) / "result.json")
    if result.name != "ifeval":
        raise ConfigError(f"{folder}: an evaluation of {result.name}; only those of ifeval can be compared")
    counts = {str(row["id"]): Counts.of(row["strict"], row["loose"]) for row in result.items}
    return Evaluation(name, counts, {key: one for key, one in result.figures.items() if isinstance(one, Interval)})
