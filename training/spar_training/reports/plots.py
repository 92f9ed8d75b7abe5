"""Plots as SVG text in one style: legible without colour, and on light and dark pages alike.

The colours are Okabe and Ito's (jfly.uni-koeln.de/color), which colour-blind readers can distinguish; lines also differ
in their marks and dashes. Axes and labels take the page's text colour. The same input gives the same bytes.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import re2

from spar_training.reports.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
_MARKS: Final = ("o", "s", "^", "D", "v", "P", "X")
_DASHES: Final = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
# In inches: the width of a drawing, and the height of a row of its legend.
_WIDTH: Final = 7.2
_ROW: Final = 0.2
# Placeholder for the page's text colour until the SVG is written; no plot uses this colour itself.
_INK: Final = "#010203"
_SETTINGS: Final[dict[Any, Any]] = {
    "svg.hashsalt": "spar",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#8a8f98",
    "grid.alpha": 0.3,
    "legend.frameon": False,
}
_SHEET: Final = (
    "<style>.plot { color: #1d1d1f; font-family: system-ui, sans-serif; } "
    "@media (prefers-color-scheme: dark) { .plot { color: #e6e7ea; } } "
    "@media print { .plot { color: #000; } }</style>"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a value with its interval at each x."""

    label: str
    xs: Sequence[float]
    ys: Sequence[Interval]


@dataclass(frozen=True, slots=True)
class Bars:
    """One bar for each group, all in the same colour; None leaves a bar out."""

    label: str
    values: Sequence[Interval | None]


def line_plot(
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    percent: bool = True,
    log2: bool = True,
    integer_ticks: bool = False,
) -> str:
    """Draw lines with their 95% bands, as SVG.

    With `log2` the x-axis doubles at each step, and 0 comes one step before the first. With `integer_ticks` the axis
    has a tick at each x and none in between. With `percent` the values are fractions of 1, shown as percentages.
    """
    scale = 100.0 if percent else 1.0
    ticks = sorted({x for line in lines for x in line.xs})
    positions = _log2_positions(ticks) if log2 else {x: float(x) for x in ticks}
    with _drawing(_WIDTH, 4.2) as (drawing, axes):
        for number, line in enumerate(lines):
            style = number % len(_COLOURS)
            at = [positions[x] for x in line.xs]
            axes.fill_between(
                at,
                [scale * y.low for y in line.ys],
                [scale * y.high for y in line.ys],
                color=_COLOURS[style],
                alpha=0.18,
                linewidth=0,
            )
            axes.plot(
                at,
                [scale * y.mean for y in line.ys],
                label=line.label,
                color=_COLOURS[style],
                marker=_MARKS[style],
                markersize=5,
                linestyle=_DASHES[style],
            )
        if log2 or integer_ticks:
            axes.set_xticks([positions[x] for x in ticks], [f"{x:g}" for x in ticks])
        axes.set(xlabel=x_label, ylabel=y_label)
        _legend(drawing, axes, len(lines))
        return _svg(drawing)


def bar_plot(groups: Sequence[str], bars: Sequence[Bars], *, y_label: str, percent: bool = True) -> str:
    """Draw grouped bars with their 95% intervals, as SVG; horizontally if the groups' names would not fit below them.

    With `percent` the values are fractions of 1, shown as percentages.
    """
    scale = 100.0 if percent else 1.0
    horizontal = sum(len(group) for group in groups) > 70
    width = 0.8 / max(len(bars), 1)
    with _drawing(_WIDTH, 1.0 + 0.22 * len(groups) * (1 + len(bars) / 2) if horizontal else 4.0) as (drawing, axes):
        for number, series in enumerate(bars):
            shown = [(index, value) for index, value in enumerate(series.values) if value is not None and value.n]
            at = [index + (number - (len(bars) - 1) / 2) * width for index, _ in shown]
            means = [scale * value.mean for _, value in shown]
            spread = [
                [scale * (value.mean - value.low) for _, value in shown],
                [scale * (value.high - value.mean) for _, value in shown],
            ]
            style: dict[str, Any] = {"label": series.label, "color": _COLOURS[number % len(_COLOURS)]}
            whiskers: dict[str, Any] = {"fmt": "none", "ecolor": _INK, "elinewidth": 1, "capsize": 2.5}
            if horizontal:
                axes.barh(at, means, width * 0.92, **style)
                axes.errorbar(means, at, xerr=spread, **whiskers)
            else:
                axes.bar(at, means, width * 0.92, **style)
                axes.errorbar(at, means, yerr=spread, **whiskers)
        values = [value for series in bars for value in series.values if value is not None]
        _start_at_zero(axes, values, horizontal=horizontal)
        _label_groups(axes, groups, y_label, horizontal=horizontal)
        _legend(drawing, axes, len(bars))
        return _svg(drawing)


def _start_at_zero(axes: Axes, values: Sequence[Interval], *, horizontal: bool) -> None:
    """Let the axis start at zero if no value is below it, even if all values are zero."""
    if any(value.low < 0 for value in values):
        return
    _, upper = axes.get_xlim() if horizontal else axes.get_ylim()
    bounds = (0.0, upper if any(value.high > 0 for value in values) else 1.0)
    axes.set(**{"xlim" if horizontal else "ylim": bounds})


def _label_groups(axes: Axes, groups: Sequence[str], label: str, *, horizontal: bool) -> None:
    if horizontal:
        axes.set_yticks(range(len(groups)), groups)
        axes.tick_params(axis="y", length=0)
        axes.set(xlabel=label, ylim=(len(groups) - 0.4, -0.6))
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
        axes.axvline(0, color=_INK, linewidth=0.8)
    else:
        axes.set_xticks(range(len(groups)), groups)
        axes.tick_params(axis="x", length=0)
        axes.set(ylabel=label)
        axes.axhline(0, color=_INK, linewidth=0.8)


def _log2_positions(ticks: Sequence[float]) -> dict[float, float]:
    """Return the position of each x on an axis that doubles at each step but still has a zero."""
    smallest = min((x for x in ticks if x > 0), default=1.0)
    return {x: math.log2(x) if x > 0 else math.log2(smallest) - 1 for x in ticks}


@contextmanager
def _drawing(width: float, height: float) -> Iterator[tuple[Drawing, Axes]]:
    import matplotlib
    from matplotlib.figure import Figure as Drawing

    with matplotlib.rc_context(_SETTINGS):
        drawing = Drawing(figsize=(width, height), layout="constrained")
        drawing.patch.set_alpha(0)
        axes = drawing.subplots()
        axes.patch.set_alpha(0)
        yield drawing, axes


def _legend(drawing: Drawing, axes: Axes, count: int) -> None:
    """Add a legend above the plot in as many columns as fit; none if there is only one series."""
    if count < 2:
        return
    _, height = drawing.get_size_inches()
    for columns in range(min(count, 3), 0, -1):
        legend = axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0.3)
        # A legend that is too wide would leave the axes no room, so it takes none until it is measured.
        legend.set_in_layout(False)
        # Keep the plot as high as it is with a legend of three rows.
        rows = math.ceil(count / columns)
        drawing.set_size_inches(_WIDTH, height + _ROW * max(0, rows - 3))
        drawing.draw_without_rendering()
        legend.set_in_layout(True)
        if legend.get_window_extent().x1 <= axes.get_window_extent().x1:
            return


def _svg(drawing: Drawing) -> str:
    out = io.StringIO()
    drawing.savefig(out, format="svg", metadata={"Date": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re2.sub(r"(?s)\s*<metadata>.*?</metadata>", "", svg, count=1)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]+", r"font-size: \1px", svg)
    # A page may hold several plots, and its ids must be unique.
    prefix = sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{prefix}-", svg)
    return svg.replace("<svg ", '<svg class="plot" ', 1).replace(">", f">{_SHEET}", 1)
