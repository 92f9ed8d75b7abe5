"""The documentation: its links lead somewhere, its commands exist, and its pages stay short."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.main import get_command

from spar_core.backends.registry import BACKENDS
from spar_core.checks import BUILT_IN_IDS
from spar_core.prompts import SHIPPED_SETS
from spar_core.search import STRATEGIES
from spar_server.cli.main import app
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


def commands(page: Path) -> list[list[str]]:
    """The words of each `spar` command in a page's code, without `spar` and what a shell would not pass on."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [
        line for block in re.findall(r"^ *```.*?^ *```", text, re.DOTALL | re.MULTILINE) for line in block.splitlines()
    ]
    found = [*lines, *re.findall(r"`([^`]+)`", without_code(page))]
    written = [one.strip().removeprefix("$ ") for one in found]
    return [
        shlex.split(re.split(r" [|<>&;]", one)[0], comments=True)[1:] for one in written if re.match(r"spar [\w-]", one)
    ]


def unknown(words: list[str]) -> str | None:
    """The first subcommand or option that `spar` does not have."""
    command: Any = get_command(app)
    while words and hasattr(command, "get_command") and not words[0].startswith("-"):
        command = command.get_command(typer.Context(command), words[0])
        if command is None:
            return words[0]
        words = words[1:]
    known = {"--help", *(name for each in command.params for name in (*each.opts, *each.secondary_opts))}
    return next((word for word in words if re.match("--?[a-z]", word) and word.split("=")[0] not in known), None)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_exists_with_its_options(page: Path) -> None:
    # `spar acme` is the example of a package's own command.
    assert [words for words in commands(page) if words[0] != "acme" and unknown(words)] == []


def test_commands_are_found_and_wrong_ones_noticed() -> None:
    assert ["train", "ship", "runs/smollm2-135m/self-play", "--out", "my-pair"] in commands(
        ROOT / "docs/your-own-model.md"
    )
    assert unknown(["train", "shop", "runs/mine"]) == "shop"
    assert unknown(["train", "ship", "runs/mine", "--iterations", "2"]) == "--iterations"
