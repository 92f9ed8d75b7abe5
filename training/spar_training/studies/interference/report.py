"""The experiment's report, built from its result file alone, so that other reports can include its sections."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from spar_training.reports.intervals import Interval
from spar_training.reports.page import Figure, Report, Section, Table, setup_section
from spar_training.reports.plots import Line, line_plot
from spar_training.reports.result import Result, read_result
from spar_training.studies.interference import prose
from spar_training.studies.interference.analysis import Figures
from spar_training.studies.interference.tasks import ARMS, TASKS

_PLOTTED: Final = {"letters": ("right length", "lower case"), "story": ("both",)}


def sections(folder: Path) -> list[Section]:
    """Build a section for each task from the `result.json` in the folder of `spar bench interference`.

    Raises:
        DataError: there is no such file.
    """
    return _sections(read_result(folder / "result.json"))


def to_report(result: Result) -> Report:
    figures = _intervals(result)
    summary = "\n\n".join(
        f"{prose.TITLES[task].capitalize()}: {prose.verdict(figures, task)}" for task in result.config["tasks"]
    )
    return Report("Refined and interfering pairs", summary, [*_sections(result), setup_section(result)])


def _sections(result: Result) -> list[Section]:
    figures = _intervals(result)
    return [_section(result, figures, task) for task in result.config["tasks"]]


def _section(result: Result, figures: Figures, task: str) -> Section:
    preference = result.config["tasks"][task]["preference"]
    measures = TASKS[task].measures
    last = preference["steps"][-1]
    evaluation = result.config["evaluation"]
    prompts = figures[f"{task}/{measures[0]}/start"].n
    text = [
        prose.ABOUT[task],
        prose.verdict(figures, task),
        "\n".join(f"- {prose.outcome(figures, task, measure, last)}" for measure in measures),
        f"{preference['pairs']} pairs and {last} steps of DPO in each arm, {result.config['seeds']} seeds; the arms of "
        "a seed share all settings, prompts and rejected answers. Measured on "
        f"{prompts} {evaluation['split'].replace('_', '-')} prompts, {evaluation['samples']} answers each; the "
        "intervals resample the prompts.",
    ]
    plots = [_plot(figures, task, measure, preference["steps"]) for measure in _PLOTTED[task]]
    return Section(
        f"Refined and interfering pairs: {prose.TITLES[task]}",
        "\n\n".join(text),
        [_final_table(figures, task, last), _steps_table(figures, task, preference["steps"])],
        plots,
    )


def _plot(figures: Figures, task: str, measure: str, steps: list[int]) -> Figure:
    name = f"{task}/{measure}"
    lines = [
        Line(
            f"{arm} pairs",
            [0, *steps],
            [figures[f"{name}/{what}"] for what in ("start", *(f"{arm}/{s}" for s in steps))],
        )
        for arm in ARMS
    ]
    svg = line_plot(lines, x_label="steps of DPO", y_label=f"{measure}, %", log2=False)
    return Figure(svg, f"Share of answers: {measure}.", f"{measure}: share of answers by DPO steps, one line per arm")


def _final_table(figures: Figures, task: str, last: int) -> Table:
    header = ["", "start", "refined", "interfering", "refined − start", "interfering − start", "refined − interfering"]
    rows = [
        [
            measure,
            figures[f"{task}/{measure}/start"].percent(),
            *(figures[f"{task}/{measure}/{arm}/{last}"].percent() for arm in ARMS),
            *(
                figures[f"{task}/{measure}/{one} - {other}"].signed()
                for one, other in (("refined", "start"), ("interfering", "start"), ("refined", "interfering"))
            ),
        ]
        for measure in TASKS[task].measures
    ]
    return Table(header, rows, "At the last step; percent of answers with 95% intervals, differences paired by prompt")


def _steps_table(figures: Figures, task: str, steps: list[int]) -> Table:
    columns = [(measure, arm) for measure in TASKS[task].measures for arm in ARMS]
    header = ["step", *(f"{measure}, {arm}" for measure, arm in columns), *(f"margin, {arm}" for arm in ARMS)]
    rows = [["0", *(f"{100 * figures[f'{task}/{measure}/start'].mean:.1f}" for measure, _ in columns), "–", "–"]]
    rows += [
        [
            str(step),
            *(f"{100 * figures[f'{task}/{measure}/{arm}/{step}'].mean:.1f}" for measure, arm in columns),
            *(f"{figures[f'{task}/margin/{arm}/{step}'].mean:.2f}" for arm in ARMS),
        ]
        for step in steps
    ]
    return Table(
        header,
        rows,
        "By step, percent; a margin is DPO's implicit reward of the chosen minus that of the rejected answers, over "
        "the steps since the previous row",
    )


def _intervals(result: Result) -> Figures:
    return {name: value for name, value in result.figures.items() if isinstance(value, Interval)}
