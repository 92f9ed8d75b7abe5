"""Sections of a report in a file, so that one experiment's can stand in another's report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from spar_core.errors import DataError
from spar_training.files import write_json
from spar_training.reports.page import Figure, Section, Table


def write_sections(path: Path, sections: Sequence[Section]) -> None:
    """Keep them with their figures; the file is whole or as it was before."""
    write_json(path, [asdict(section) for section in sections])


def read_sections(path: Path) -> list[Section]:
    """The sections that were kept; none where there is no file.

    Raises:
        DataError: the file holds something else.
    """
    if not path.exists():
        return []
    try:
        return [
            Section(
                heading=str(one["heading"]),
                text=str(one["text"]),
                tables=[Table(**table) for table in one["tables"]],
                figures=[Figure(**figure) for figure in one["figures"]],
            )
            for one in json.loads(path.read_text(encoding="utf-8"))
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: holds no sections of a report ({error}); remove it, or make it anew") from error
