"""`spar bench self-play`: run the unfinished runs of a study, and write its result and report from their folders."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console

from spar_training.loop import Loop, check_recipe
from spar_training.pipeline.executors.local import LocalExecutor
from spar_training.reports.page import to_html, to_markdown
from spar_training.reports.result import write_result
from spar_training.runs.folder import Run
from spar_training.storage.files import write_text
from spar_training.studies.interference.report import sections
from spar_training.studies.self_play.analysis import analyze
from spar_training.studies.self_play.report import to_report, to_result
from spar_training.studies.self_play.results import read_outcomes
from spar_training.studies.self_play.runner import StudyRunner
from spar_training.studies.self_play.study import Study, load_study

# The interference study, whose sections are included in the report.
_EXTRA = "interference"


def run(*, study: str, out: Path, docs: Path | None, report_only: bool, command: str) -> None:
    """Run or resume the study and report on it; `command` is the command line to show in the report.

    Raises:
        ConfigError: the study is invalid, or a folder holds a run of another recipe.
        DataError, BackendError, TrainingError: a run failed.
    """
    chosen = load_study(study)
    console = Console()
    if not report_only:
        _run(chosen, out, console)
    report_on(chosen, out=out, docs=docs, command=command, console=console)


def _run(study: Study, out: Path, console: Console) -> None:
    async def run_loop(run: Run) -> None:
        check_recipe(run.recipe)
        await Loop(run=run, executor=LocalExecutor(), console=console).run_iterations()

    asyncio.run(StudyRunner(study=study, out=out, run_loop=run_loop, console=console).run())


def report_on(study: Study, *, out: Path, docs: Path | None, command: str, console: Console) -> None:
    """Write `result.json` and `report.html` into `out`, and `self-play.md` with its figures into `docs`.

    Raises:
        ConfigError: nothing of the study has been measured.
        DataError: a file cannot be read or written.
    """
    outcomes = read_outcomes(study, out)
    console.print("computing intervals")
    findings = analyze(outcomes)
    config = {
        "study": study.name,
        "recipe": study.base,
        "seeds": list(study.seeds),
        "arms": {arm.name: arm.recipe.model_dump(mode="json") for arm in study.arms},
        "missing": outcomes.missing(),
        "differing": outcomes.differing(),
        "command": command,
    }
    extra = sections(out / _EXTRA) if (out / _EXTRA).exists() else []
    report = to_report(outcomes, findings, config=config, extra=extra)
    write_result(out / "result.json", to_result(outcomes, findings, config=config))
    write_text(out / "report.html", to_html(report))
    if docs:
        write_text(docs / "self-play.md", to_markdown(report, docs / "img", prefix="self-play-"))
    console.print(report.summary, markup=False)
    console.print(f"{out / 'result.json'}, {out / 'report.html'}", soft_wrap=True, markup=False)
