"""Reports: plain values in, Markdown and a self-contained page out; results that read back unchanged."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from spar_core.errors import DataError
from spar_training.reports.intervals import Interval
from spar_training.reports.page import Figure, Report, Section, Table, to_html, to_markdown, write_report
from spar_training.reports.plots import Bars, Line, bar_plot, line_plot
from spar_training.reports.result import Result, model_lineage, read_result, write_result

HALF = Interval(0.5, 0.4, 0.6, 100)


def plots() -> list[str]:
    lines = [Line("search", [0, 1, 8], [HALF] * 3), Line("best of N", [0, 1, 8], [HALF] * 3)]
    return [
        line_plot(lines, x_label="budget", y_label="right, %"),
        bar_plot(["easy", "hard"], [Bars("base", [HALF, None]), Bars("tuned", [HALF, HALF])], y_label="right, %"),
        bar_plot([f"a_long_name_of_a_group_{n}" for n in range(9)], [Bars("base", [HALF] * 9)], y_label="right, %"),
    ]


def report() -> Report:
    table = Table(["metric", "value"], [["strict | loose", "50.0 [40.0, 60.0]"], ["<b>", "–"]], "Percent")
    figures = [Figure(svg, "What a `budget` buys", "Two lines") for svg in plots()]
    text = "A paragraph\non two lines.\n\n- one\n- two\n\n    spar eval ifeval --data <folder>"
    return Report("Instruction <following>", "Better.", [Section("By budget", text, [table], figures)])


def test_the_page_is_one_file_that_loads_nothing() -> None:
    page = to_html(report())
    assert not re.search(r"(src|href)=\"(?!#)|@import|<script|<link", page)
    assert [*re.findall(r"url\((?!#)", page), *re.findall(r"xlink:href=\"(?!#)", page)] == []
    assert "default-src 'none'" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "Instruction &lt;following&gt;" in page
    assert '<td class="figure">50.0 [40.0, 60.0]</td>' in page
    assert "<ul><li>one</li><li>two</li></ul>" in page
    assert "spar eval ifeval --data &lt;folder&gt;</pre>" in page
    assert "a <code>budget</code> buys" in page


def test_markdown_has_its_figures_in_a_folder(tmp_path: Path) -> None:
    text = to_markdown(report(), tmp_path / "figures")
    assert "| strict \\| loose | 50.0 [40.0, 60.0] |" in text
    assert "| --- | --: |" in text
    for name in ("by-budget-1.svg", "by-budget-2.svg", "by-budget-3.svg"):
        assert f"](figures/{name})" in text
        assert ElementTree.parse(tmp_path / "figures" / name).getroot().tag.endswith("svg")


def test_a_report_is_written_in_both_formats(tmp_path: Path) -> None:
    write_report(report(), tmp_path, "ifeval")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["figures", "ifeval.html", "ifeval.md"]


def test_the_same_figures_give_the_same_bytes() -> None:
    assert plots() == plots()


def test_a_plot_takes_the_text_colour_of_its_page() -> None:
    for svg in plots():
        assert "currentColor" in svg
        assert "#010203" not in svg
        assert "prefers-color-scheme: dark" in svg


def test_the_log2_axis_has_a_zero() -> None:
    words = "".join(ElementTree.fromstring(plots()[0]).itertext())
    assert all(label in words for label in ("0", "1", "8", "search", "best of N", "budget"))


@pytest.mark.parametrize(("length", "columns"), [(10, 3), (25, 2), (50, 1)])
def test_a_legend_has_as_many_columns_as_fit(length: int, columns: int) -> None:
    labels = [f"{letter:n<{length}}" for letter in "abcdef"]
    lines = [Line(label, [0, 1], [Interval(0.5, 0.4, 0.6, 9)] * 2) for label in labels]
    positions = re.findall(r'x="([\d.]+)" y="([\d.]+)"[^>]*>[a-f]n+<', line_plot(lines, x_label="x", y_label="y"))
    assert len(positions) == 6
    assert len({x for x, _ in positions}) == columns
    assert len({y for _, y in positions}) == 6 / columns


def test_an_axis_starts_at_zero_even_if_all_values_are_zero() -> None:
    zero = Interval(0.0, 0.0, 0.0, 5)
    words = "".join(ElementTree.fromstring(bar_plot(["a"], [Bars("x", [zero])], y_label="right, %")).itertext())
    assert "−" not in words


def test_a_result_reads_back_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "actor").mkdir()
    (tmp_path / "actor" / "recipe.json").write_text('{"name": "small-pair"}')
    models = {"actor": model_lineage(tmp_path / "actor")}
    assert models["actor"]["recipe"] == {"name": "small-pair"}
    result = Result(
        name="ifeval",
        config={"seed": 3},
        models=models,
        figures={"prompt_strict": HALF, "nodes": 1.5},
        items=[{"id": "1", "passed": True}],
    )
    write_result(tmp_path / "result.json", result)
    assert read_result(tmp_path / "result.json") == result
    assert result.versions["spar-server"]


def test_a_figure_of_no_items_is_null_in_the_file(tmp_path: Path) -> None:
    none = Interval(math.nan, math.nan, math.nan, 0)
    write_result(tmp_path / "r.json", Result(name="x", config={}, models={}, figures={"a": none}, items=[]))
    text = (tmp_path / "r.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail)["figures"]["a"]["mean"] is None
    again = read_result(tmp_path / "r.json").figures["a"]
    assert isinstance(again, Interval)
    assert again.percent() == "–"


@pytest.mark.parametrize(("text", "error"), [("{", "not JSON"), ("[]", "name is missing"), ('{"name": 1}', "name")])
def test_a_file_that_is_not_a_result_is_refused(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(DataError, match=error):
        read_result(tmp_path / "r.json")
