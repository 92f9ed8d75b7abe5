"""Draw one search as an SVG: the draft, its votes and critique, and every refinement.

Run: python examples/draw_search.py http://127.0.0.1:8000/v1 MODEL "Write about rivers without commas." > search.svg

The search evaluates whole levels of the tree (`stop: "level"`) with all votes, so a seed gives the same picture again.
"""

import argparse
import difflib
import json
import os
import sys
import textwrap
import urllib.request
from html import escape

from spar_core.search import Node, Tree
from spar_core.trace import read_tree

CARD, GAP, MARGIN, LINE, PAD = 272, 22, 24, 19, 16
CHARACTERS = 36  # of a line of text in a card

STYLE = """
svg { --page:#ffffff; --card:#f6f8fa; --edge:#d0d7de; --text:#1f2328; --quiet:#59636e;
      --yes:#1a7f37; --no:#cf222e; --new:#0969da }
@media (prefers-color-scheme: dark) {
  svg { --page:#0d1117; --card:#151b23; --edge:#3d444d; --text:#f0f6fc; --quiet:#9198a1;
        --yes:#3fb950; --no:#f85149; --new:#4493f8 }
}
text { font: 13px -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: var(--text) }
.label { font-weight: 600 } .quiet { fill: var(--quiet); font-size: 12px }
.yes { fill: var(--yes) } .no { fill: var(--no) } .new { fill: var(--new); font-weight: 600 }
.page { fill: var(--page) } .card { fill: var(--card); stroke: var(--edge) }
.best { stroke: var(--yes); stroke-width: 2 }
.edge { fill: none; stroke: var(--edge); stroke-width: 1.5 } .path { stroke: var(--yes); stroke-width: 2 }
"""


def search(url: str, model: str, question: str, seed: int, budget: int) -> Tree:
    """The tree of one search by the server at `url`."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "seed": seed,
        "refine_budget": budget,
        "refine": {"trace": "full", "stop": "level", "early_vote_stop": False},
    }
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', '')}"}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as response:
        return read_tree(json.load(response)["spar"]["tree"])


class Card:
    """One node: its title, votes, text, and the critique that its children were refined by."""

    def __init__(self, tree: Tree, node: Node, best: Node) -> None:
        self.node, self.best = node, node is best
        self.text = node.completion.text if node.completion else node.problem or "cancelled"
        parent = tree[node.path[:-1]] if node.path else node
        before = parent.completion.text.split() if parent.completion else []
        matcher = difflib.SequenceMatcher(a=before, b=self.text.split(), autojunk=False)
        blocks = matcher.get_matching_blocks()
        self.same = {block.b + offset for block in blocks for offset in range(block.size)}
        self.lines = wrapped(self.text)
        judgement = node.judgement
        critique = judgement.critique if judgement and tree.children(node.path) else None
        self.critique = [line for part in (critique or "").splitlines() for line in wrapped(part)]
        self.votes = judgement.votes if judgement and node.outcome == "judged" else ()
        self.height = 2 * PAD + 20 + LINE * len(self.lines) + (LINE * (len(self.critique) + 1) + PAD) * bool(critique)

    @property
    def title(self) -> str:
        number = ".".join(str(step + 1) for step in self.node.path)
        return f"Refinement {number}" if number else "Draft"

    def svg(self, x: float, y: float) -> str:
        parts = [f'<g transform="translate({x:g} {y:g})">']
        parts += [f'<rect class="card {"best" if self.best else ""}" width="{CARD}" height="{self.height}" rx="10"/>']
        row = PAD + 12
        parts += [f'<text class="label" x="{PAD}" y="{row}">{self.title}</text>', self._votes(row)]
        number = 0
        for line in self.lines:
            row += LINE if number else LINE + 6
            words = []
            for word in line.split():
                words.append(escape(word) if number in self.same else f'<tspan class="new">{escape(word)}</tspan>')
                number += 1
            parts.append(f'<text x="{PAD}" y="{row}">{" ".join(words)}</text>')
        if self.critique:
            row += PAD
            parts.append(f'<line class="edge" x1="{PAD}" x2="{CARD - PAD}" y1="{row - 4}" y2="{row - 4}"/>')
            row += LINE - 3
            parts.append(f'<text class="label" x="{PAD}" y="{row}">Critique</text>')
            for line in self.critique:
                row += LINE
                colour = "no" if line.endswith(("-> no", ": No")) else "quiet"
                parts.append(f'<text class="quiet {colour}" x="{PAD}" y="{row}">{escape(line)}</text>')
        return "\n".join([*parts, "</g>"])

    def _votes(self, y: float) -> str:
        if not self.votes:
            return f'<text class="quiet" x="{CARD - PAD}" y="{y}" text-anchor="end">{self.node.outcome}</text>'
        marks = {True: ("yes", "✓"), False: ("no", "✗"), None: ("quiet", "?")}
        spans = "".join('<tspan class="{}" dx="3">{}</tspan>'.format(*marks[vote.verdict]) for vote in self.votes)
        return f'<text x="{CARD - PAD}" y="{y}" text-anchor="end">{spans}</text>'


def draw(tree: Tree, question: str) -> str:
    """The picture: the question on top, then the tree level by level."""
    best = max(tree, key=lambda node: (node.value or 0.0, -node.depth))
    cards = {node.path: Card(tree, node, best) for node in tree}
    levels = [[path for path in cards if len(path) == depth] for depth in range(tree.depth + 1)]
    width = 2 * MARGIN + max(len(level) * (CARD + GAP) - GAP for level in levels)
    heading = textwrap.wrap(question, int((width - 2 * MARGIN) / 7.5))
    y = MARGIN + LINE * (len(heading) + 1)
    body, places = [], {}
    for level in levels:
        x = (width - len(level) * (CARD + GAP) + GAP) / 2
        for path in level:
            places[path] = (x, y)
            body.append(cards[path].svg(x, y))
            x += CARD + GAP
        y += max(cards[path].height for path in level) + 2 * GAP
    edges = [
        _edge(places[path[:-1]], cards[path[:-1]].height, places[path], cards[path].best) for path in places if path
    ]
    height = y - 2 * GAP + MARGIN
    lines = [f'<tspan x="{MARGIN}" dy="{LINE}">{escape(line)}</tspan>' for line in heading]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img">',
            f"<title>A search for: {escape(question)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{width:g}" height="{height:g}" rx="12"/>',
            f'<text y="{MARGIN - 6}">{"".join(lines)}</text>',
            *sorted(edges, key=lambda edge: "edge path" in edge),
            *body,
            "</svg>\n",
        ]
    )


def _edge(parent: tuple[float, float], height: float, child: tuple[float, float], best: bool) -> str:
    (x1, y1), (x2, y2) = parent, child
    x1, y1, x2 = x1 + CARD / 2, y1 + height, x2 + CARD / 2
    middle = (y1 + y2) / 2
    curve = f"M{x1:g} {y1:g} C{x1:g} {middle:g} {x2:g} {middle:g} {x2:g} {y2:g}"
    return f'<path class="edge {"path" if best else ""}" d="{curve}"/>'


def wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, CHARACTERS) or [""]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="the server, ending in /v1")
    parser.add_argument("model")
    parser.add_argument("question")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=int, default=8)
    options = parser.parse_args()
    tree = search(options.url, options.model, options.question, options.seed, options.budget)
    sys.stdout.write(draw(tree, options.question))
