"""`python -m tests.attack [FAMILY ...]`: attack a real server; print figures and bars; exit with 1 on a failure.

Several families run side by side, each in a process and against servers of its own, and each one's figures come as a
whole when it ends: most of the time is spent on waits.
"""

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
AT_ONCE: Final = 2
# What compares times of answers would measure the other families too.
ALONE: Final = frozenset({"fairness"})


async def attack(families: list[str]) -> list[str]:
    """Run each family in a process of its own; the value names those with a figure over its bar."""
    room = asyncio.Semaphore(AT_ONCE)

    async def run(family: str) -> str | None:
        async with room:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.attack", family),
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            output, _ = await process.communicate()
        print(output.decode(errors="replace"), end="", flush=True)
        return family if process.returncode else None

    failed = await asyncio.gather(*(run(family) for family in families if family not in ALONE))
    failed += [await run(family) for family in families if family in ALONE]
    return [family for family in failed if family]


async def attack_one(family: str) -> list[Outcome]:
    """Attack each of the family's servers."""
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="spar-attack-") as folder:
        async with running_upstream() as upstream:
            for setup in FAMILIES[family]:
                outcomes += await _attack_with(family, Path(tempfile.mkdtemp(dir=folder)), upstream, setup)
    return outcomes


async def _attack_with(family: str, folder: Path, upstream: str, setup: Setup) -> list[Outcome]:
    began, outcomes = time.monotonic(), list[Outcome]()
    print(f"\n{family}, templates {setup.templates}, log level {setup.log_level}", flush=True)
    async with target_at(folder, upstream, setup) as target:
        for each in importlib.import_module(f"tests.attack.families.{family}").ATTACKS:
            since = time.monotonic()
            for outcome in await each(target):
                outcomes.append(outcome)
                print(outcome.row(), flush=True)
            print(f"  ({each.__name__}: {time.monotonic() - since:.0f} s)", flush=True)
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
    if len(wanted) == 1:
        outcomes = asyncio.run(attack_one(wanted[0]))
        over = sum(not outcome.passed for outcome in outcomes)
        print(f"  {len(outcomes)} figures, {over} over their bars", flush=True)
        sys.exit(1 if over else 0)
    failed = asyncio.run(attack(wanted))
    print(f"\nover their bars: {', '.join(failed) or 'no figures'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
