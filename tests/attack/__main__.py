"""`python -m tests.attack [FAMILY ...]`: attack a real server; print figures and bars; exit with 1 on a failure."""

from __future__ import annotations

import asyncio
import importlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.attack.outcome import Outcome, none_of
from tests.attack.server import Setup
from tests.attack.target import running_upstream, target_at

# Each family with the servers that it attacks, one after the other.
FAMILIES: Final[dict[str, tuple[Setup, ...]]] = {
    "wire": (Setup(),),
    "bodies": (Setup(),),
    # A set with a mark in the verdict line, and those of models that were trained on fixed wording.
    "verdicts": (Setup(), Setup(templates="compact"), Setup(templates="brief")),
    "upstreams": (Setup(),),
    "fairness": (Setup(),),
    "fields": (Setup(log_level="info"),),
    "streams": (Setup(),),
}


async def attack(families: list[str]) -> list[Outcome]:
    """Run each family against a server of its own."""
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="spar-attack-") as folder:
        async with running_upstream() as upstream:
            for family in families:
                for setup in FAMILIES[family]:
                    outcomes += await _attack_with(family, Path(tempfile.mkdtemp(dir=folder)), upstream, setup)
    return outcomes


async def _attack_with(family: str, folder: Path, upstream: str, setup: Setup) -> list[Outcome]:
    began, outcomes = time.monotonic(), list[Outcome]()
    print(f"\n{family}, templates {setup.templates}, log level {setup.log_level}", flush=True)
    async with target_at(folder, upstream, setup) as target:
        for each in importlib.import_module(f"tests.attack.families.{family}").ATTACKS:
            for outcome in await each(target):
                outcomes.append(outcome)
                print(outcome.row(), flush=True)
        target.look_into_log()
        for outcome in (
            none_of("secrets in answers and in the log", sorted(set(target.leaks))),
            none_of("errors that nothing expected", target.unexpected_errors()),
        ):
            outcomes.append(outcome)
            print(outcome.row(), flush=True)
    print(f"  ({time.monotonic() - began:.0f} s)", flush=True)
    return outcomes


def main() -> None:
    wanted = sys.argv[1:] or list(FAMILIES)
    if unknown := set(wanted) - set(FAMILIES):
        sys.exit(f"there is no family {', '.join(sorted(unknown))}; there are {', '.join(FAMILIES)}")
    outcomes = asyncio.run(attack(wanted))
    failed = [outcome for outcome in outcomes if not outcome.passed]
    print(f"\n{len(outcomes)} figures, {len(failed)} over their bars")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
