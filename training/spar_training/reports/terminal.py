"""Print a report's summary and tables on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from spar_training.reports.page import Report, Table, right_aligned


def print_report(report: Report, console: Console) -> None:
    """Print the title, the summary and the tables; figures and long texts are left to the page."""
    # As Text, so that brackets are not read as markup.
    console.print(Text(report.title, style="bold"))
    console.print(Text(report.summary))
    for section in report.sections:
        for table in section.tables:
            console.print(_grid(table, section.heading))


def _grid(table: Table, heading: str) -> Grid:
    grid = Grid(title=Text(table.caption or heading), title_justify="left")
    for name, is_right in zip(table.header, right_aligned(table), strict=True):
        grid.add_column(Text(name), justify="right" if is_right else "left", overflow="fold")
    for row in table.rows:
        grid.add_row(*map(Text, row))
    return grid
