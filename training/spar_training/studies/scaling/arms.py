"""What is compared: each arm is one way to answer, run from the same drafts as every other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

from spar_core.search import PAPER_DEPTH, STRATEGIES, SearchConfig
from spar_training.studies.scaling.baselines import Consensus

Group = Literal["main", "oracle", "ablation"]
Oracle = Literal["none", "judge", "refiner", "both"]

# Best-of-N as the field has it, and the engine's own strategy, which stops when a sample is accepted.
BEST_OF_ALL: Final = "best_of_n_all"
BEST_OF_UNTIL: Final = "best_of_n"
# What refining is compared with.
REFERENCES: Final = (BEST_OF_ALL, BEST_OF_UNTIL)
# Methods besides the searches: by samples alone, without a judge.
SAMPLED: Final[dict[str, Consensus]] = {"self_consistency": "majority", "similarity": "similar"}
METHODS: Final = (*STRATEGIES, BEST_OF_ALL, *SAMPLED)
# Without a judge every sample is drawn, whatever the ones before were like: so far, and no further.
_SAMPLED_BUDGET: Final = 8
# The method that oracles and ablations vary, and their budget.
DEFAULT_METHOD: Final = "bfs"
ABLATION_BUDGET: Final = 8

# The engine awaits a level's siblings here, as the paper does: all that is generated is counted, and a smaller budget's
# tree is the beginning of a larger one's. What `stop="first"` saves is one of the ablations, and so is what more trees
# bring: a method is one tree of the paper's depth.
_BASE: Final = SearchConfig(stop="level", max_depth=PAPER_DEPTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """`search.budget` is the largest budget asked of this arm. `factor` is what an ablation varies, `setting` to what.

    Instead of searching, `consensus` chooses among `search.budget` + 1 samples without a judge, and `judge_all` has
    every one of them judged and takes the best. `greedy` drafts at temperature 0.
    `checks` gives the search the prompt's own checks. A `live` arm is not served from the store: what it measures is a
    matter of time.
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
        """Whether one run tells every smaller budget's outcome: no sibling is cancelled."""
        return self.search.stop == "level"


def main_arms(methods: Iterable[str], *, budget: int, best_of: int, best_of_all: int) -> list[Arm]:
    """One arm for each method at the largest budget.

    Best-of-N, with which others are compared, has its own: `best_of` if that is larger where it stops at the first
    accepted sample, `best_of_all` where every sample is drawn and judged, which costs all of them each time.
    """
    arms = [Arm(name="greedy", group="main", search=replace(_BASE, budget=0), greedy=True)]
    for method in methods:
        if method in SAMPLED:
            search = replace(_BASE, budget=min(budget, _SAMPLED_BUDGET))
            arms.append(Arm(name=method, group="main", search=search, consensus=SAMPLED[method]))
            continue
        if method == BEST_OF_ALL:
            arms.append(Arm(name=method, group="main", search=replace(_BASE, budget=best_of_all), judge_all=True))
            continue
        # Ablations are compared with the default method at their own budget, whatever the curves' budgets are.
        least = {BEST_OF_UNTIL: best_of, DEFAULT_METHOD: ABLATION_BUDGET}.get(method, 0)
        largest = max(budget, least)
        arms.append(Arm(name=method, group="main", search=replace(_BASE, algorithm=method, budget=largest)))
    return arms


def oracle_arms(*, budget: int) -> list[Arm]:
    """The same searches with a perfect judge, a perfect refiner, and both."""
    wanted: list[tuple[str, Oracle]] = [
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
        for method, oracle in wanted
    ]


def ablation_arms(*, deep: int) -> list[Arm]:
    """One thing changed at a time, around breadth first at budget 8; the last is a deeper tree, of budget `deep`."""
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
