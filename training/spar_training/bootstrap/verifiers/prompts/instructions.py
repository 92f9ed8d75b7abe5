"""Sample instructions from a chat model itself (Magpie, arXiv 2406.08464).

A chat model that is prompted with its template up to the user's turn generates an instruction like those that it was
trained on. Only the first line is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spar_core.backends.base import PassThrough
from spar_core.errors import ConfigError
from spar_core.seeds import derive_seed
from spar_training.pipeline.progress import item_progress
from spar_training.pipeline.runner import Policy, run_items
from spar_training.prompt_evolution.load import SeedPrompt
from spar_training.storage.files import Row, read_rows

_SAMPLING: Final = {"temperature": 0.8, "top_p": 0.9, "max_tokens": 56}
_PLACE: Final = "\ue000"


@dataclass(frozen=True, slots=True)
class _Wanted:
    id: str


async def sample_instructions(
    base: Path, backend: PassThrough, out: Path, *, number: int, seed: int, in_flight: int
) -> None:
    """Write `number` instructions to `out`, by the model in the folder `base` that `backend` runs; resumes.

    Raises:
        ConfigError: the model's chat template puts nothing before the user's turn.
        DataError: the file cannot be written.
        BackendUnavailable: the model cannot be sampled; finished work is kept.
    """
    before = _before_a_users_turn(base)

    async def write(item: _Wanted) -> Row:
        body = {**_SAMPLING, "prompt": before, "seed": derive_seed(seed, "instructions", item.id)}
        made = await backend.forward("/completions", body)
        return {"text": str(made["choices"][0]["text"]).strip().partition("\n")[0].strip()}

    with item_progress("the base's own instructions") as on_progress:
        wanted = [_Wanted(f"base:{place}") for place in range(number)]
        await run_items(wanted, write, out=out, policy=Policy(in_flight=in_flight), on_progress=on_progress)


def read_instructions(file: Path) -> list[SeedPrompt]:
    """The instructions that `sample_instructions` wrote."""
    return [SeedPrompt(row["id"], row["text"], "base") for row in read_rows(file, needs=("id", "text"))]


def _before_a_users_turn(base: Path) -> str:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    if not tokenizer.chat_template:
        raise ConfigError(f"{base}: has no chat template; --base takes a model that was trained to chat")
    turns = [{"role": "user", "content": _PLACE}]
    before, _, _ = tokenizer.apply_chat_template(turns, tokenize=False).partition(_PLACE)
    if not before:
        raise ConfigError(f"{base}: its chat template puts nothing before a user's turn; set tasks.instructions to 0")
    return str(before)
