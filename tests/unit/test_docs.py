"""The documentation: its links lead somewhere, and its pages stay short."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from spar_core.backends.registry import BACKENDS
from spar_core.checks import BUILT_IN_IDS
from spar_core.prompts import SHIPPED_SETS
from spar_core.search import STRATEGIES
from spar_training.methods import METHODS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Written by `make reference`, `spar bench scaling` and `spar bench self-play`.
GENERATED = {"scaling.md", "self-play.md", *(page.name for page in (ROOT / "docs/reference").glob("*.md"))}


def without_code(page: Path) -> str:
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[str]:
    """The relative links and images of a page."""
    found = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", without_code(page)))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub derives them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_and_anchor_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{name(page)}: {link}"
        assert not anchor or anchor in anchors(target), f"{name(page)}: {link}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in links(page)]
        waiting += [target for target in targets if target.suffix == ".md"]
    assert set(PAGES) <= reached


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in GENERATED], ids=name)
def test_a_page_has_at_most_250_lines(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) <= 250


def test_the_glossary_has_at_most_40_terms() -> None:
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs/glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    terms = [row for row in rows if row != "term"]
    assert 1 < len(terms) <= 40
    assert len(set(terms)) == len(terms)


def table(page: str, heading: str) -> set[str]:
    """The names in the first column of the tables below a heading, to the next heading."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    section = re.split(r"^#+ ", text.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))


def test_every_variant_that_is_selected_by_name_is_documented() -> None:
    assert table("serving.md", "Strategies") == set(STRATEGIES)
    assert table("serving.md", "Template sets") == set(SHIPPED_SETS)
    assert table("serving.md", "Backends by name") == set(BACKENDS)
    assert table("training.md", "Methods") == set(METHODS)


def test_every_check_is_documented() -> None:
    page = (ROOT / "docs/checks.md").read_text(encoding="utf-8")
    # The table of IFBench's types leaves out their common prefix.
    assert [each for each in BUILT_IN_IDS if f"`{each.removeprefix('ifbench-train:')}`" not in page] == []


def examples(page: str) -> list[str]:
    return re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


@pytest.mark.parametrize(("page", "count"), [("extending.md", 5), ("checks.md", 2), ("training-methods.md", 1)])
def test_the_examples_of_extending_are_valid(page: str, count: int) -> None:
    found = examples(page)
    assert len(found) == count
    for number, example in enumerate(found):
        module = ModuleType(f"example_{number}")
        exec(compile(example, f"{page}, example {number}", "exec"), vars(module))
