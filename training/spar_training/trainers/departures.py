"""Where an edited text ceases to be a copy of its source.

In a refinement nearly every token is copied, so a loss that counts all tokens alike is nearly lowest for a model that
copies everything; the places found here can weigh more.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher


def departures(source: Sequence[int], edited: Sequence[int]) -> list[int]:
    """Places in `edited` where it ceases to copy `source`: each edit's first token, or what follows a cut."""
    codes = SequenceMatcher(None, source, edited, autojunk=False).get_opcodes()
    return [start for kind, _, _, start, _ in codes if kind != "equal" and start < len(edited)]
