"""One call through a pool, from its first try to its last."""

from __future__ import annotations

from dataclasses import dataclass, field

from spar_core.backends.context import Caller
from spar_core.backends.pool.replica import Endpoint
from spar_core.backends.pool.slots import Slot


@dataclass
class Call:
    """`completions` is how many it asks for, on behalf of `caller`; `many` is whether it could ask for one of them.

    `failed` are the places whose failure was held against their endpoint; `doubtful` those where it is not known yet
    whether the endpoint or the call itself was at fault.
    """

    key: str
    deadline: float | None
    caller: Caller
    completions: int
    many: bool
    tried: set[Endpoint] = field(default_factory=set)
    failed: set[Slot] = field(default_factory=set)
    doubtful: set[Slot] = field(default_factory=set)
    retries: int = 0
