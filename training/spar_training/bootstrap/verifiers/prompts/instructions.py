"""Sample instructions from a chat model itself (Magpie, arXiv 2406.08464).

A chat model that is prompted with its template up to the user's turn generates an instruction like those that it was
trained on. Only the first line is used.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from spar_core.errors import ConfigError
from spar_core.seeds import derive_seed
from spar_training.pipeline.runner import Journal
from spar_training.prompt_evolution.load import SeedPrompt
from spar_training.storage.files import read_rows, write_rows

_BATCH: Final = 32
_MOST_TOKENS: Final = 56
_PLACE: Final = "\ue000"


def own_instructions(
    base: Path, out: Path, *, number: int, seed: int, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> list[SeedPrompt]:
    """Sample `number` instructions from the model in `base` into `out`; an interrupted call resumes.

    Raises:
        ConfigError: the model's chat template puts nothing before the user's turn.
        DataError: the file cannot be written.
    """
    if not out.exists():
        with Journal(out.with_name(f"{out.name}.journal")) as journal:
            if len(journal.rows) < number:
                writer = _Writer(base)
                for start in range(0, number, _BATCH):
                    if f"base:{start}" not in journal.rows:
                        texts = writer.lines(_BATCH, derive_seed(seed, "instructions", start))
                        # The first row is written last: it marks the batch as complete.
                        for place in reversed(range(_BATCH)):
                            journal.append({"id": f"base:{start + place}", "text": texts[place]})
                        on_progress(min(start + _BATCH, number), number)
            rows = sorted(journal.rows.values(), key=lambda row: int(row["id"].partition(":")[2]))
            write_rows(out, rows[:number])
            journal.path.unlink()
    return [SeedPrompt(row["id"], row["text"], "base") for row in read_rows(out, needs=("id", "text"))]


class _Writer:
    """A model that generates user turns."""

    def __init__(self, base: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(base)
        self._model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
        if not self._tokenizer.chat_template:
            raise ConfigError(f"{base}: has no chat template; --base takes a model that was trained to chat")
        turns = [{"role": "user", "content": _PLACE}]
        before, _, _ = self._tokenizer.apply_chat_template(turns, tokenize=False).partition(_PLACE)
        if not before:
            raise ConfigError(
                f"{base}: its chat template puts nothing before a user's turn; set tasks.instructions to 0"
            )
        self._before = before

    def lines(self, number: int, seed: int) -> list[str]:
        """Generate `number` instructions, determined by the seed."""
        import torch

        asked = self._tokenizer(self._before, return_tensors="pt", add_special_tokens=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = self._model.generate(
                **asked,
                do_sample=True,
                temperature=0.8,
                top_p=0.9,
                top_k=0,
                max_new_tokens=_MOST_TOKENS,
                num_return_sequences=number,
                pad_token_id=self._tokenizer.eos_token_id,
            )
        texts = self._tokenizer.batch_decode(made[:, asked["input_ids"].shape[1] :], skip_special_tokens=True)
        return [text.strip().partition("\n")[0].strip() for text in texts]
