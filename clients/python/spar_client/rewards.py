"""The server's judge as a reward function for TRL's trainers.

    from trl import GRPOTrainer
    from spar_client.rewards import JudgeReward

    reward = JudgeReward("http://127.0.0.1:8000", options={"votes": 5})
    trainer = GRPOTrainer(model=model, reward_funcs=reward, train_dataset=dataset, args=args)

The columns `checks` and `requirements` of the data set, if it has them, are each answer's rubric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from spar_client.client import Client
from spar_client.options import JudgeOptions, Messages


class JudgeReward:
    """Rewards completions with the value of their judgement, from 0 to 1; None, which TRL leaves out, if it abstained.

    A batch is judged with `concurrency` requests at once. `options` are those of `Client.judge`. Unless they say
    otherwise, all votes are counted, because a trainer learns from the share. Raises the errors of
    `spar_client.errors`.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        model: str | None = None,
        concurrency: int = 16,
        name: str = "spar_judge",
        options: JudgeOptions | None = None,
    ) -> None:
        # Trainers log a reward under its function's name.
        self.__name__ = name
        self._options: JudgeOptions = {"early_vote_stop": False, **(options or {})}
        self._connect = partial(Client, base_url, api_key=api_key, model=model)
        self._concurrency = concurrency

    def __call__(
        self, prompts: Sequence[Messages], completions: Sequence[Messages], **columns: Any
    ) -> list[float | None]:
        """The rewards of a batch, in order; TRL passes the data set's other columns as lists."""
        rubrics = [
            {name: columns[name][number] for name in ("checks", "requirements") if columns.get(name)}
            for number in range(len(prompts))
        ]
        with self._connect() as client, ThreadPoolExecutor(self._concurrency) as pool:
            return list(pool.map(partial(self._reward, client), prompts, completions, rubrics))

    def _reward(
        self, client: Client, prompt: Messages, completion: Messages, rubric: Mapping[str, Any]
    ) -> float | None:
        options: JudgeOptions = {**self._options}
        if rubric.get("checks"):
            options["checks"] = [_without_none(check) for check in rubric["checks"]]
        if rubric.get("requirements"):
            # Only the checklist judge reads items in words.
            options.setdefault("judge", "checklist")
            options["requirements"] = rubric["requirements"]
        return client.judge(prompt, _text(completion), **options).value


def _text(completion: Messages) -> str:
    """The answer: a string, or the last message's content."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def _without_none(value: Any) -> Any:
    """Without the keys that data sets fill with None, so that all rows have the same."""
    if isinstance(value, Mapping):
        return {name: _without_none(inner) for name, inner in value.items() if inner is not None}
    return value
