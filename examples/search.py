"""Refine one answer against an OpenAI-compatible server until a Python function finds nothing wrong with it.

Run: python examples/search.py http://127.0.0.1:8000/v1 MODEL "Name five rivers, one a line."
"""

import asyncio
import sys

import spar_core as spar


def problem(response: str) -> str | None:
    lines = [line for line in response.splitlines() if line.strip()]
    return None if len(lines) == 5 else f"{len(lines)} lines"


async def main(url: str, model: str, question: str) -> None:
    backend = spar.backends.OpenAIBackend(base_url=url, model=model)
    verifier = spar.FunctionCheck("exactly five lines", problem)
    # Without `judge` the model votes on what passes the checks; `checks` are optional then.
    searcher = spar.Searcher.from_backends(actor=backend, refiner=backend, judge=spar.CheckJudge(), checks=[verifier])
    result = await searcher.run([spar.Message("user", question)])
    print(result.answer.text)
    print(f"({result.stop_reason} after {result.nodes} refinements)", file=sys.stderr)
    await backend.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
