"""Run its_hub's best-of-n with its own judge, and print the seconds of each round.

Arguments: the upstream's base URL, n, the number of rounds. Each round samples n drafts and judges them all: 2 n calls.
"""

from __future__ import annotations

import asyncio
import sys
import time

from its_hub.core.algorithms.bon import BestOfN
from its_hub.core.lms.openai_lm import OpenAICompatibleLanguageModel
from its_hub.core.reward_models.llm_judge import LLMJudge


async def main() -> None:
    url, n, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    model = OpenAICompatibleLanguageModel(endpoint=url, api_key="none", model_name="m")
    best_of_n = BestOfN(LLMJudge(model))
    for _ in range(rounds):
        began = time.perf_counter()
        await best_of_n.ainfer(model, "Write.", budget=n)
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
