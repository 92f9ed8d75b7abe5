"""The arms of the study: each is a way to answer, run from the same drafts as all others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

from spar_core.search import PAPER_DEPTH, STRATEGIES, SearchConfig
from spar_training.studies.scaling.baselines import Consensus

Group = Literal["main", "oracle", "ablation"]
Oracle = Literal["none", "judge", "refiner", "both"]

# Standard best-of-N, and the search strategy of that name, which stops when a sample is accepted.
BEST_OF_ALL: Final = "best_of_n_all"
BEST_OF_UNTIL: Final = "best_of_n"
# The methods that refinement is compared with.
REFERENCES: Final = (BEST_OF_ALL, BEST_OF_UNTIL)
# Methods without a judge, which choose among samples.
CONSENSUS_METHODS: Final[dict[str, Consensus]] = {"self_consistency": "majority", "similarity": "similar"}
METHODS: Final = (*STRATEGIES, BEST_OF_ALL, *CONSENSUS_METHODS)
# Without a judge all samples are always drawn, so the budget is limited.
_CONSENSUS_BUDGET: Final = 8
# The method that oracles and ablations vary, and their budget.
DEFAULT_METHOD: Final = "bfs"
ABLATION_BUDGET: Final = 8

# As in the paper, a search awaits all siblings of a level: all generated tokens are counted, and the tree of a smaller
# budget is the beginning of a larger one's. A method is one tree of the paper's depth; `stop="first"` and deeper trees
# are ablations.
_BASE: Final = SearchConfig(stop="level", max_depth=PAPER_DEPTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A way to answer. `search.budget` is the arm's largest budget; an ablation sets `factor` to `setting`.

    Instead of searching, `consensus` chooses among `search.budget` + 1 samples without a judge, and `judge_all` judges
    all of them and takes the best. `greedy` drafts at temperature 0. `checks` gives the search the prompt's own checks.
    A `live` arm does not use cached completions, since it depends on timing.
    """

    name: str
    group: Group
    search: SearchConfig
    factor: str = ""
    setting: str = ""
    oracle: Oracle = "none"
    consensus: Consensus = "none"
    judge_all: bool = False
    checks: bool = False
    greedy: bool = False
    live: bool = False

    @property
    def nested(self) -> bool:
        """Whether one run covers every smaller budget, which holds if no sibling is cancelled."""
        return self.search.stop == "level"


def main_arms(methods: Iterable[str], *, budget: int, best_of: int, best_of_all: int) -> list[Arm]:
    """Build an arm for each method at the largest budget.

    Best-of-N, with which the others are compared, has its own: at least `best_of` for the kind that stops at the first
    accepted sample, and `best_of_all` for the kind that always draws and judges every sample.
    """
    arms = [Arm(name="greedy", group="main", search=replace(_BASE, budget=0), greedy=True)]
    for method in methods:
        if method in CONSENSUS_METHODS:
            search = replace(_BASE, budget=min(budget, _CONSENSUS_BUDGET))
            arms.append(Arm(name=method, group="main", search=search, consensus=CONSENSUS_METHODS[method]))
            continue
        if method == BEST_OF_ALL:
            arms.append(Arm(name=method, group="main", search=replace(_BASE, budget=best_of_all), judge_all=True))
            continue
        # Ablations are compared with the default method at their own budget, whatever the budgets of the curves.
        minimum = {BEST_OF_UNTIL: best_of, DEFAULT_METHOD: ABLATION_BUDGET}.get(method, 0)
        largest = max(budget, minimum)
        arms.append(Arm(name=method, group="main", search=replace(_BASE, algorithm=method, budget=largest)))
    return arms


def oracle_arms(*, budget: int) -> list[Arm]:
    """Build arms that search with a perfect judge, a perfect refiner, or both."""
    variants: list[tuple[str, Oracle]] = [
        (DEFAULT_METHOD, "judge"),
        (DEFAULT_METHOD, "refiner"),
        (DEFAULT_METHOD, "both"),
        (BEST_OF_UNTIL, "judge"),
    ]
    return [
        Arm(
            name=f"{method}+oracle_{oracle}",
            group="oracle",
            search=replace(_BASE, algorithm=method, budget=budget),
            oracle=oracle,
        )
        for method, oracle in variants
    ]


def ablation_arms(*, deep: int) -> list[Arm]:
    """Build arms that change one setting of breadth first at budget 8; the last are deeper trees of budget `deep`."""
    base = replace(_BASE, algorithm=DEFAULT_METHOD, budget=ABLATION_BUDGET)
    arms = [
        _ablation("votes", f"{votes}{'' if early else ', all asked'}", votes=votes, early_vote_stop=early)
        for votes in (1, 3, 5, 9)
        for early in (True, False)
        # One vote cannot stop early, and five with early stop is the default itself.
        if (votes, early) not in ((1, False), (5, True))
    ]
    arms += [_ablation("threshold", str(value), threshold=value) for value in (0.3, 0.7, 0.9)]
    arms += [_ablation("branch", str(value), branch=value) for value in (1, 2, 4, 8)]
    arms += [_ablation("beam", str(value), beam=value) for value in (1, 3, 4)]
    arms += [_ablation("max_depth", str(value), max_depth=value) for value in (1, 2, 4)]
    arms += [
        _ablation("select", "sample", select="sample"),
        Arm(
            name="stop=first",
            group="ablation",
            search=replace(base, stop="first"),
            factor="stop",
            setting="first",
            live=True,
        ),
        Arm(name="checks=on", group="ablation", search=base, factor="checks", setting="on", checks=True),
    ]
    if deep > ABLATION_BUDGET:
        setting = f"10 at budget {deep}"
        arms.append(_ablation("max_depth", setting, max_depth=10, budget=deep))
        arms.append(_ablation("max_depth", f"none at budget {deep}", max_depth=None, budget=deep))
    return arms


def _ablation(factor: str, setting: str, **changes: object) -> Arm:
    base = replace(_BASE, algorithm=DEFAULT_METHOD, budget=ABLATION_BUDGET)
    search = replace(base, **changes)  # type: ignore[arg-type]
    return Arm(name=f"{factor}={setting}", group="ablation", search=search, factor=factor, setting=setting)
