"""`python -m tests.fuzz [SECONDS [SEED]]`: feed every parser in turn until the time is over; exit with 1 at a fault.

The seconds are the processor's, so that a busy machine tries as many inputs as an idle one.

What was found is kept in `.hypothesis` and tried first the next time. With a seed the inputs are the same each time, as
far as the time goes, and nothing is kept.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from tests.fuzz.endpoints import Endpoints, requests
from tests.fuzz.parsers import PARSERS

_EXAMPLES: Final = 100
_DEFAULT_S: Final = 600.0


def fuzz(seconds: float, random_seed: str | None = None) -> int:
    """How many of the targets have a fault; one that has is left alone afterwards."""
    targets: dict[str, tuple[SearchStrategy[Any], Callable[[Any], None]]] = {
        **PARSERS, "a whole request": (requests, Endpoints().check)
    }  # fmt: skip
    until, examples, faults = time.process_time() + seconds, dict.fromkeys(targets, 0), 0
    while targets and time.process_time() < until:
        for name, (strategy, check) in list(targets.items()):
            try:
                _feed(strategy, check, name, random_seed and f"{random_seed}/{name}/{examples[name]}")
            except Exception:  # noqa: BLE001
                # The process's edge: whatever it is, it is a finding, and Hypothesis has added the input to it.
                print(f"\n{name}:\n{traceback.format_exc()}", flush=True)
                faults += 1
                del targets[name]
            examples[name] += _EXAMPLES
            if time.process_time() > until:
                break
    for name, count in examples.items():
        print(f"{name}: {count:,} inputs{'' if name in targets else ', A FAULT'}")
    return faults


def _feed(strategy: SearchStrategy[Any], check: Callable[[Any], None], name: str, random_seed: str | None) -> None:
    def fed(value: Any) -> None:
        check(value)

    # Hypothesis keeps what it finds under the function's name.
    fed.__qualname__ = name
    test = given(strategy)(fed)
    limits = settings(
        max_examples=_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), print_blob=False,
        phases=(Phase.reuse, Phase.generate, Phase.shrink),
    )  # fmt: skip
    if random_seed is None:
        limits(test)()
    else:
        settings(limits, database=None)(seed(random_seed)(test))()


if __name__ == "__main__":
    faults = fuzz(float(sys.argv[1]) if sys.argv[1:] else _DEFAULT_S, sys.argv[2] if sys.argv[2:] else None)
    sys.exit(1 if faults else 0)
