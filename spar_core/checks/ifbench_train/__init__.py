"""The 29 instruction types that IFBench publishes for training (arXiv 2507.02833), a family per file.

Their ids are `ifbench-train:` and the published name; kwargs are the published ones. The 58 types of IFBench's test are
left out, so that they can show how well a model follows constraints that it has never seen.
"""

from __future__ import annotations

from typing import Final

from spar_core.checks.ifbench_train import copying, counting, keywords, layout, letters, positions, punctuation
from spar_core.checks.spec import CheckSpec

_FAMILIES: Final = (keywords, letters, counting, positions, copying, layout, punctuation)
SPECS: Final[tuple[CheckSpec, ...]] = tuple(spec for family in _FAMILIES for spec in family.SPECS)
