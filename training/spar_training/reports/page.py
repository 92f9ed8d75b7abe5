"""Reports as plain values, rendered as Markdown with figures beside it and as one self-contained HTML page.

    report = Report("IFEval: my-model", "41.2 percent.", [Section("Accuracy", tables=[table]), setup_section(result)])
    write_report(report, folder)  # report.md, report.html and figures/

The HTML page loads nothing, follows the reader's light or dark setting, prints well, and scrolls wide tables on narrow
screens. Texts use a small subset of Markdown: paragraphs separated by blank lines, lists (each line starts with `- `),
commands (each line is indented by four spaces) and `code` in backticks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Final

from spar_training.reports.result import Result
from spar_training.storage.files import write_text

STYLE: Final = """\
:root { color-scheme: light dark; --text: #1d1d1f; --soft: #5b5e66; --page: #ffffff; --panel: #f5f6f8; --line: #d9dce1;
  --accent: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e7ea; --soft: #a3a7b0; --page: #16181c; --panel: #1f2228; --line: #363a43; --accent: #56b4e9; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1rem; text-wrap: balance; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 2.5rem 0 .75rem; padding-top: 1rem;
  border-top: 1px solid var(--line); }
p, ul { margin: 0 0 1rem; max-width: 46rem; overflow-wrap: anywhere; }
ul { padding-left: 1.25rem; }
.summary { background: var(--panel); border-left: 4px solid var(--accent); border-radius: 4px; padding: 1rem 1.25rem;
  font-size: 1.05rem; }
.summary > :last-child { margin-bottom: 0; }
code, pre { font: .875em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code { background: var(--panel); border-radius: 3px; padding: .1em .3em; }
pre { background: var(--panel); border-radius: 4px; padding: .75rem 1rem; margin: 0 0 1rem; }
.scroll { overflow-x: auto; max-width: 100%; }
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; margin: 0 0 1.25rem; font-size: .925rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: 0 0 .4rem; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td:first-child, th:first-child { padding-left: 0; }
th { font-weight: 600; border-bottom: 2px solid var(--line); vertical-align: bottom; }
td:not(.figure) { min-width: 7rem; max-width: 30rem; overflow-wrap: break-word; }
.figure { text-align: right; white-space: nowrap; }
/* In a table of many columns it is the headings that exceed the page's width. */
th.figure { white-space: normal; }
figure { margin: 0 0 1.5rem; }
figure svg { display: block; max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .925rem; margin-top: .35rem; max-width: 46rem; }
@media (max-width: 40rem) {
  main { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.5rem; }
  /* A plot that shrank with the screen would be illegible. */
  figure svg { min-width: 30rem; }
  td:not(.figure) { overflow-wrap: anywhere; }
}
@media print {
  :root { --text: #000; --soft: #444; --page: #fff; --panel: #f5f5f5; --line: #bbb; }
  body { font-size: 11pt; }
  main { max-width: none; padding: 0; }
  .scroll { overflow: visible; }
  pre { white-space: pre-wrap; }
  figure, tr, .summary { break-inside: avoid; }
  h2 { break-after: avoid; }
  thead { display: table-header-group; }
}
"""


_FIGURE: Final = re.compile(r"[+−-]?[\d.,]+(\s*%|\s|\[|$)|–$|^nan")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells as displayed; each row is as long as the header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot as SVG text; `alt` describes it in words."""

    svg: str
    caption: str
    alt: str


@dataclass(frozen=True, slots=True)
class Section:
    """The content under one heading: the text, then the figures, then the tables."""

    heading: str
    text: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A titled report; `summary` holds what a reader in a hurry needs."""

    title: str
    summary: str
    sections: Sequence[Section] = field(default=())


def write_report(report: Report, folder: Path, name: str = "report") -> None:
    """Write `NAME.md` with its figures in `figures/`, and `NAME.html`, each file atomically."""
    write_text(folder / f"{name}.md", to_markdown(report, folder / "figures"))
    write_text(folder / f"{name}.html", to_html(report))


def to_markdown(report: Report, figures_dir: Path, *, prefix: str = "") -> str:
    """Render the report as Markdown.

    Writes each figure into `figures_dir`, which must lie beside the Markdown file; their names start with `prefix`.
    """
    parts = [f"# {report.title}", report.summary.strip()]
    for section in report.sections:
        parts += [f"## {section.heading}", section.text.strip("\n")]
        for number, figure in enumerate(section.figures, start=1):
            file = figures_dir / f"{prefix}{_slug(section.heading)}-{number}.svg"
            write_text(file, figure.svg)
            parts += [f"![{figure.alt}]({figures_dir.name}/{file.name})", _emphasized(figure.caption)]
        for table in section.tables:
            parts += [_emphasized(table.caption), markdown_table(table)]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_html(report: Report) -> str:
    """Render the report as one self-contained page."""
    sections = "\n".join(_html_section(section) for section in report.sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        # A report has nothing to load or run, whatever its texts may contain.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(report.title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(report.title)}</h1>\n<div class="summary">{_html_text(report.summary)}</div>\n'
        f"{sections}\n</main>\n</body>\n</html>\n"
    )


def _html_section(section: Section) -> str:
    figures = "\n".join(_html_figure(figure) for figure in section.figures)
    tables = "\n".join(_html_table(table) for table in section.tables)
    heading = f'<h2 id="{_slug(section.heading)}">{escape(section.heading)}</h2>'
    return f"<section>\n{heading}\n{_html_text(section.text)}\n{figures}\n{tables}\n</section>"


def _html_figure(figure: Figure) -> str:
    # Without the XML declaration, which belongs to a separate file.
    svg = figure.svg[figure.svg.index("<svg") :]
    picture = f'<div class="scroll" role="img" aria-label="{escape(figure.alt)}">{svg}</div>'
    return f"<figure>\n{picture}\n<figcaption>{_html_inline(figure.caption)}</figcaption>\n</figure>"


def _html_table(table: Table) -> str:
    right = right_aligned(table)
    classes = [' class="figure"' if is_right else "" for is_right in right]
    head = "".join(
        f'<th scope="col"{c}>{_html_inline(cell)}</th>' for c, cell in zip(classes, table.header, strict=True)
    )
    body = "\n".join(
        "<tr>" + "".join(f"<td{c}>{_html_inline(cell)}</td>" for c, cell in zip(classes, row, strict=True)) + "</tr>"
        for row in table.rows
    )
    caption = f"<caption>{_html_inline(table.caption)}</caption>\n" if table.caption else ""
    # Focusable, so that it can be scrolled with the keyboard.
    return (
        f'<div class="scroll" tabindex="0">\n<table>\n{caption}<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


def markdown_table(table: Table) -> str:
    """Render a table without its caption."""
    rule = ["--:" if is_right else "---" for is_right in right_aligned(table)]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (table.header, *table.rows)]
    lines = [cells[0], rule, *cells[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def right_aligned(table: Table) -> list[bool]:
    """Return for each column whether it holds figures, which are aligned on the right."""
    columns = [[row[index] for row in table.rows] for index in range(len(table.header))]
    return [bool(cells) and all(_FIGURE.match(cell) for cell in cells if cell) for cells in columns]


def _html_text(text: str) -> str:
    blocks = re.split(r"\n[ \t]*\n", text.strip("\n"))
    return "\n".join(_html_block(block.split("\n")) for block in blocks if block.strip())


def _html_block(lines: Sequence[str]) -> str:
    if all(line.startswith("    ") for line in lines):
        code = "\n".join(line[4:] for line in lines)
        return f'<pre class="scroll" tabindex="0">{escape(code)}</pre>'
    if all(line.startswith("- ") for line in lines):
        return "<ul>" + "".join(f"<li>{_html_inline(line[2:])}</li>" for line in lines) + "</ul>"
    return f"<p>{_html_inline(' '.join(line.strip() for line in lines))}</p>"


def _html_inline(text: str) -> str:
    # A backtick without a second one is an ordinary character.
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _emphasized(caption: str) -> str:
    return f"*{caption}*" if caption else ""


def _slug(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") or "section"


_MAX_VALUE_LENGTH: Final = 160
SETUP: Final = "How it was measured"


def setup_section(result: Result) -> Section:
    """Return the section with configuration, models and versions; full lineages are in the result file."""
    models = [(f"{role}: {name}", value) for role, model in result.models.items() for name, value in _flatten(model, 2)]
    rows = [[name, text] for name, value in (*_flatten(result.config, 4), *models) if (text := _format_value(value))]
    versions = [[name, version] for name, version in result.versions.items()]
    return Section(SETUP, "", [Table(["setting", "value"], rows), Table(["package", "version"], versions)])


def _flatten(values: Mapping[str, Any], depth: int) -> Iterator[tuple[str, Any]]:
    """Yield the values that are not mappings, down to a depth, with their dotted names."""
    for name, value in values.items():
        if not isinstance(value, Mapping):
            yield name, value
        elif depth > 1:
            for inner, deeper in _flatten(value, depth - 1):
                yield f"{name}.{inner}", deeper


def _format_value(value: Any) -> str:
    if value in (None, "", [], {}):
        return ""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        value = ", ".join(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_VALUE_LENGTH else f"{text[:_MAX_VALUE_LENGTH]}…"
