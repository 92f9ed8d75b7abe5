"""IFEval's 25 instruction types, a family per file."""

from __future__ import annotations

from typing import Final

from spar_core.checks.ifeval import (
    case,
    combination,
    content,
    keywords,
    language,
    layout,
    length,
    punctuation,
    startend,
)
from spar_core.checks.spec import CheckSpec

_FAMILIES: Final = (keywords, length, layout, content, case, punctuation, startend, combination, language)
SPECS: Final[tuple[CheckSpec, ...]] = tuple(spec for family in _FAMILIES for spec in family.SPECS)
