"""Probe a model in training: verifiers measure it on validation examples."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM

from spar_core.checks import verify
from spar_core.refiner import extract_refined
from spar_core.types import Message
from spar_core.verdict import parse_verdict
from spar_training.bootstrap.batches import collate
from spar_training.bootstrap.recipe import TaskName
from spar_training.bootstrap.tasks import Tasks
from spar_training.bootstrap.tokenizer import END
from spar_training.world.critique import write_critique
from spar_training.world.example import draw_example
from spar_training.world.samples import draw_response

_ROOM = 160


@dataclass(frozen=True)
class Probe:
    """Measures with greedy decoding on the first `size` validation examples."""

    tasks: Tasks
    size: int

    def run(self, model: LlamaForCausalLM, mix: Sequence[TaskName]) -> dict[str, float]:
        model.eval()
        try:
            with torch.inference_mode():
                found = {"copy": self._copied(model)}
                if "actor" in mix:
                    found |= self._answers(model)
                if "refiner" in mix:
                    found |= self._judgements(model)
        finally:
            model.train()
        return found

    def _copied(self, model: LlamaForCausalLM) -> float:
        """The accuracy of copying random strings, per token, with teacher forcing."""
        rows = [self.tasks.row("copy", "validation", index) for index in range(self.size)]
        batch = collate(rows, pad=self._pad)
        hidden = model.model(input_ids=batch.ids).last_hidden_state.flatten(0, 1)[batch.source]
        return float((model.lm_head(hidden).argmax(-1) == batch.targets).float().mean())

    def _answers(self, model: LlamaForCausalLM) -> dict[str, float]:
        prompts = [draw_example("validation", index).prompt for index in range(self.size)]
        answers = self._generate(model, [[Message("user", prompt.text)] for prompt in prompts])
        findings = [verify(prompt.checks, answer) for prompt, answer in zip(prompts, answers, strict=True)]
        every = [finding.passed for row in findings for finding in row]
        return {
            "actor_prompts": _mean([all(finding.passed for finding in row) for row in findings]),
            "actor_constraints": _mean(every),
        }

    def _judgements(self, model: LlamaForCausalLM) -> dict[str, float]:
        examples = [draw_example("validation", index) for index in range(self.size)]
        responses = [draw_response(example, random.Random(i)) for i, example in enumerate(examples)]
        judge = [
            self.tasks.templates.judge([Message("user", example.prompt.text)], response)
            for example, response in zip(examples, responses, strict=True)
        ]
        critiques = self._generate(model, judge)
        truth = [write_critique(e.prompt.checks, r) for e, r in zip(examples, responses, strict=True)]
        good = [text.endswith("Yes") for text in truth]
        right = [parse_verdict(text) == label for text, label in zip(critiques, good, strict=True)]
        bad = [index for index, label in enumerate(good) if not label]
        turns = [
            self.tasks.templates.refine([Message("user", examples[i].prompt.text)], responses[i], truth[i]) for i in bad
        ]
        refined = [extract_refined(raw).text or "" for raw in self._generate(model, turns)]
        return {
            "judge_good": _mean([ok for ok, label in zip(right, good, strict=True) if label]),
            "judge_bad": _mean([ok for ok, label in zip(right, good, strict=True) if not label]),
            "critique_exact": _mean([a == b for a, b in zip(critiques, truth, strict=True)]),
            "refined": _mean(
                [
                    all(finding.passed for finding in verify(examples[i].prompt.checks, text))
                    for i, text in zip(bad, refined, strict=True)
                ]
            ),
        }

    def _generate(self, model: LlamaForCausalLM, conversations: Sequence[Sequence[Message]]) -> list[str]:
        tokenizer = self.tasks.tokenizer
        rows = [
            tokenizer.apply_chat_template(
                [message.to_openai() for message in turns], add_generation_prompt=True, return_dict=False
            )
            for turns in conversations
        ]
        width = max(map(len, rows))
        ids = torch.tensor([[self._pad] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=_ROOM,
            eos_token_id=tokenizer.convert_tokens_to_ids(END),
            pad_token_id=self._pad,
        )
        return [text.strip() for text in tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)]

    @property
    def _pad(self) -> int:
        return int(self.tasks.tokenizer.pad_token_id)


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else float("nan")
