"""TRL's trainers for token rows: no second tokenization, complete checkpoints marked, weighted tokens for SFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Sampler
from trl import DPOTrainer, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from spar_training.trainers.checkpoints import seal
from spar_training.trainers.lm_head import use_frozen_head
from spar_training.trainers.sampler import LengthGrouped


class _OnTokens:
    """Our order of rows and output head; checkpoints are marked once all processes have written their parts."""

    _has_our_head = False

    def train(self, *args: Any, **more: Any) -> Any:
        self._use_our_head()
        return super().train(*args, **more)  # type: ignore[misc]

    def _use_our_head(self) -> None:
        this: Any = self
        if not torch.cuda.is_available() and not self._has_our_head:
            use_frozen_head(this.model.get_base_model() if isinstance(this.model, PeftModel) else this.model)
            self._has_our_head = True

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        this: Any = self
        args = this.args
        if args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)  # type: ignore[misc, no-any-return]
        rows = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        return LengthGrouped(this.train_dataset["length"], batch=rows, seed=args.seed)

    def create_model_card(self, *args: Any, **more: Any) -> None:
        """Does nothing: our card is written with the finished model."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)  # type: ignore[misc]
        this: Any = self
        this.accelerator.wait_for_everyone()
        if this.is_world_process_zero():
            seal(Path(this.args.output_dir) / f"checkpoint-{this.state.global_step}")


class TokenDpoTrainer(_OnTokens, DPOTrainer):  # type: ignore[misc]
    """DPO on rows of `prompt_ids`, `chosen_ids` and `rejected_ids`."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **more: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, *args: Any, **more: Any) -> Dataset:
        # Called while this object is made.
        self._use_our_head()
        return super()._precompute_ref_logps(*args, **more)


class WeightsCollator(DataCollatorForLanguageModeling):  # type: ignore[misc]
    """Also pads the `weights` of rows that have them."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super().torch_call(examples)
        if "weights" in examples[0]:
            batch["weights"] = pad_sequence([torch.tensor(row["weights"]) for row in examples], batch_first=True)
        return batch


class TokenSftTrainer(_OnTokens, SFTTrainer):  # type: ignore[misc]
    """SFT on rows of `input_ids`, `labels` and optional token `weights`."""

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["input_ids", "labels", "weights"]

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The weighted mean loss of the targets.

        Weights average one over a row's targets, so the sum is still divided by the number of targets.
        """
        if "weights" not in inputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        weights = inputs.pop("weights")[:, 1:]
        outputs = model(**inputs, use_cache=False, fused_lm_head=True)
        log_probs = outputs.log_probs[:, -weights.size(1) :]
        targets = outputs.label_mask.sum() if num_items_in_batch is None else num_items_in_batch
        loss = -(log_probs * weights).sum() / targets
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            # The count is over all devices, and their gradients are averaged.
            loss = loss * self.accelerator.num_processes
        valid = outputs.label_mask.sum().clamp(min=1)
        self._metrics["train"]["mean_token_accuracy"].append((outputs.is_top1.sum() / valid).item())
        return loss
