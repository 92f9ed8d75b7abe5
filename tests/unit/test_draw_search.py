"""The example that draws a search."""

from __future__ import annotations

import runpy
from pathlib import Path
from xml.etree import ElementTree

from spar_core.judge import Judgement, Vote
from spar_core.search import Node, Tree
from spar_core.types import Completion, Usage

EXAMPLE = Path(__file__).parents[2] / "examples" / "draw_search.py"


def judgement(text: str, *, verdict: bool) -> Judgement:
    return Judgement((Vote(text, verdict, Usage()),) * 3)


def test_the_picture_has_every_response_the_critique_and_one_frame() -> None:
    draft = Completion("Tea & cake", "stop", Usage())
    refined = Completion("Tea & cake by a lamp", "stop", Usage())
    tree = Tree(Node((), "judged", draft, judgement("lamp missing\nFinal Judgement: No", verdict=False)))
    tree.add(Node((0,), "failed", problem="no markers"))
    tree.add(Node((1,), "judged", refined, judgement("Final Judgement: Yes", verdict=True)))
    svg = ElementTree.fromstring(runpy.run_path(str(EXAMPLE))["draw"](tree, "Write <two> words."))
    text = " ".join(" ".join(svg.itertext()).split())
    for part in ("Write <two> words.", "Tea & cake", "by a lamp", "lamp missing", "no markers", "✗ ✗ ✗", "✓ ✓ ✓"):
        assert part in text, part
    assert len([element for element in svg.iter() if "best" in element.get("class", "").split()]) == 1
