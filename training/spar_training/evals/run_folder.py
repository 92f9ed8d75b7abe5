"""The folder of an evaluation: its configuration, the finished items, and in the end its result and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from spar_core.errors import ConfigError
from spar_training.reports.page import SETUP, Report, write_report
from spar_training.reports.result import Result, write_result
from spar_training.reports.terminal import print_report
from spar_training.storage.resume import check_settings

_CONFIG: Final = "config.json"


def prepare_folder(folder: Path, config: Mapping[str, Any]) -> None:
    """Start an evaluation in `folder`, or resume the one that was interrupted there.

    The configuration of an evaluation without any finished items is replaced.

    Raises:
        ConfigError: the folder holds an evaluation with another configuration, or something else.
        DataError: the configuration in the folder is damaged.
    """
    file = folder / _CONFIG
    others = [other for other in folder.iterdir() if other != file] if folder.exists() else []
    if others and not file.exists():
        raise ConfigError(f"--out {folder} holds something else; choose another folder")
    if not others:
        file.unlink(missing_ok=True)
    check_settings(file, config)


def finish(folder: Path, result: Result, report: Report, console: Console | None = None) -> None:
    """Write the result, write the report as Markdown and HTML, and print its tables."""
    write_result(folder / "result.json", result)
    write_report(report, folder)
    screen = console or Console()
    # Whoever runs the command knows the setup.
    shown = [section for section in report.sections if section.heading != SETUP]
    print_report(replace(report, sections=shown), screen)
    screen.print(f"The result, its items and the report are in {folder}.", soft_wrap=True, markup=False)
