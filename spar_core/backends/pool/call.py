"""One call through a pool, from its first attempt to its last."""

from __future__ import annotations

from dataclasses import dataclass, field

from spar_core.backends.context import Caller
from spar_core.backends.pool.replica import Endpoint
from spar_core.backends.pool.slots import Slot


@dataclass
class Call:
    """The state of a call for `completions` completions on behalf of `caller`.

    `many` is set if the caller can request the completions one by one instead. `failed` are the slots whose failure
    counted against their endpoint, `doubtful` those where it may have been the request's own fault.
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
