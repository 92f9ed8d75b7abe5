"""Instructions that list their constraints, where they should be woven in."""

from __future__ import annotations

import re
from typing import Final

from spar_training.evolve.filters.removal import Removal

_ITEM: Final = re.compile(r"^[ \t]*(?:[-*•]|\d+[.)])[ \t]+\S", re.MULTILINE)
# One more item may be an example; two make a list.
_LIST: Final = 2


def bullets(text: str, seed: str) -> Removal | None:
    """Whether `text` has two list items or more that the seed does not have."""
    more = len(_ITEM.findall(text)) - len(_ITEM.findall(seed))
    return Removal("list of constraints", f"{more} items") if more >= _LIST else None
