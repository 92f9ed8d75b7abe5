"""The folder of one evaluation: its configuration, what is finished of it, and at the end its result and report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from spar_core.errors import ConfigError, DataError
from spar_training.reports.page import SETUP, Report, write_report
from spar_training.reports.result import Result, write_result
from spar_training.reports.terminal import print_report
from spar_training.storage.files import write_json

_CONFIG: Final = "config.json"


def claim(folder: Path, config: Mapping[str, Any]) -> None:
    """Make the folder this evaluation's, or find that it is: items are finished where an earlier run stopped.

    A configuration under which nothing was finished gives way.

    Raises:
        ConfigError: the folder holds an evaluation with another configuration; names what differs.
    """
    file = folder / _CONFIG
    # As it will be read again.
    wanted = json.loads(json.dumps(config))
    others = [other for other in folder.iterdir() if other != file] if folder.exists() else []
    if file.exists() and others:
        try:
            there = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{file}: not JSON ({error}); choose another --out") from error
        differing = [name for name in {**there, **wanted} if there.get(name) != wanted.get(name)]
        if differing:
            name = differing[0]
            raise ConfigError(
                f"--out {folder} holds another evaluation: {name} is {there.get(name)} there "
                f"and {wanted.get(name)} now; choose another folder"
            )
    elif others:
        raise ConfigError(f"--out {folder} holds something else; choose another folder")
    else:
        write_json(file, wanted)


def finish(folder: Path, result: Result, report: Report, console: Console | None = None) -> None:
    """Keep the result, write the report as Markdown and HTML, and print its tables."""
    write_result(folder / "result.json", result)
    write_report(report, folder)
    screen = console or Console()
    # How it was measured is known to who sits there.
    shown = [section for section in report.sections if section.heading != SETUP]
    print_report(replace(report, sections=shown), screen)
    screen.print(f"Result, items and report are in {folder}.", soft_wrap=True, markup=False)
