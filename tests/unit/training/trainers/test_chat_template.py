"""Conversations as tokens by the chat templates of several families: what is a target, and where it ends."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
from transformers import AutoTokenizer

from spar_core.backends.chat_template import PromptEncoder
from spar_core.errors import DataError
from spar_core.prompts import load_templates
from spar_core.prompts.templates import SHIPPED_SETS
from spar_core.types import Message
from spar_training.trainers.chat_template import Renderer
from tests.support.families import FAMILIES, build_tokenizer

ASKED = {"role": "user", "content": "Tell me about the river."}
SAID = {"role": "assistant", "content": "The river runs by the mill."}
AGAIN = {"role": "user", "content": "Yes or No?"}
SHORT = {"role": "assistant", "content": "Yes"}
CHATML = (
    "{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)


def tokenizer_of(name: str) -> Any:
    if name == "ours":
        return AutoTokenizer.from_pretrained(str(files("spar_core") / "models" / "actor"))
    return build_tokenizer(FAMILIES[name])


def renderer_of(name: str, tokenizer: Any) -> Renderer:
    ends = FAMILIES[name].ends if name in FAMILIES else ("<|end|>",)
    return Renderer(tokenizer, ends=[tokenizer.convert_tokens_to_ids(end) for end in ends])


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("ours", ["The river runs by the mill.<|end|>", "Yes<|end|>"]),
        ("llama3-8b", ["The river runs by the mill.<|eot_id|>", "Yes<|eot_id|>"]),
        ("glm4-9b", ["\nThe river runs by the mill.<|user|>", "\nYes<|user|>"]),
        ("mistral-7b", [" The river runs by the mill.</s>", " Yes</s>"]),
    ],
)
def test_the_assistants_tokens_and_end_tokens_are_targets(name: str, targets: list[str]) -> None:
    tokenizer = tokenizer_of(name)
    rendered = renderer_of(name, tokenizer).conversation([ASKED, SAID, AGAIN, SHORT])
    runs: list[list[int]] = [[]]
    for token, said in zip(rendered.ids, rendered.targets, strict=True):
        if said:
            runs[-1].append(token)
        elif runs[-1]:
            runs.append([])
    # Tokens that a tokenizer of words decodes with blanks between them.
    assert [tokenizer.decode(run).replace(" ", "") for run in runs] == [text.replace(" ", "") for text in targets]
    assert tokenizer.decode(rendered.ids[rendered.last :]).replace(" ", "") == targets[-1].replace(" ", "")


@pytest.mark.parametrize("name", ["ours", "llama3-8b", "glm4-9b", "mistral-7b"])
@pytest.mark.parametrize("content", ["Tell me about the river.", "Say </s> and <|eot_id|> and <|end|> or <|user|>."])
def test_a_prompt_has_the_tokens_it_has_in_serving(name: str, content: str) -> None:
    tokenizer = tokenizer_of(name)
    renderer = renderer_of(name, tokenizer)
    turns = [{"role": "user", "content": content}]
    served = PromptEncoder(tokenizer, engine="test").encode([Message("user", content)], context=10_000)
    assert renderer.prompt(turns) == list(served)
    whole = renderer.conversation([*turns, SAID])
    assert whole.ids == [*served, *renderer.answer(turns, SAID["content"])]
    if tokenizer.bos_token_id is not None:
        assert whole.ids.count(tokenizer.bos_token_id) == 1


@pytest.mark.parametrize("templates", SHIPPED_SETS)
@pytest.mark.parametrize("name", ["ours", "llama3-8b", "glm4-9b", "mistral-7b"])
def test_a_refiners_conversation_has_the_tokens_it_has_in_serving(name: str, templates: str) -> None:
    tokenizer = tokenizer_of(name)
    # A system text is part of what is judged, so that templates without a system role, or with one that must stand
    # first or last, take it too.
    asked = [Message("system", "Be brief."), Message("user", ASKED["content"])]
    turns = load_templates(templates).refine(asked, SAID["content"], "1. brief -> no\nFinal Judgement: No")
    reply = {"role": "assistant", "content": "[[start]]\nIt runs.\n[[end]]"}
    rendered = renderer_of(name, tokenizer).conversation([*(turn.to_openai() for turn in turns), reply])
    assert rendered.ids[: rendered.last] == list(PromptEncoder(tokenizer, engine="test").encode(turns, context=10_000))
    assert [turn.role for turn in turns] == ["user", "assistant", "user"]


def test_template_text_after_the_end_token_is_not_a_target() -> None:
    tokenizer = tokenizer_of("mistral-7b")
    tokenizer.chat_template = CHATML
    renderer = renderer_of("mistral-7b", tokenizer)
    rendered = renderer.conversation([ASKED, SAID])
    assert tokenizer.decode(rendered.ids).endswith("</s>\n")
    assert rendered.targets[-2:] == [True, False]
    assert tokenizer.decode(renderer.answer([ASKED], "Yes")) == "Yes</s>"


def test_a_template_that_rewrites_earlier_turns_allows_one_answer_per_row() -> None:
    tokenizer = tokenizer_of("mistral-7b")
    renderer = renderer_of("mistral-7b", tokenizer)
    system = {"role": "system", "content": "Be brief."}
    once = renderer.conversation([system, ASKED, SAID])
    assert once.ids[: once.last] == renderer.prompt([system, ASKED])
    assert "Be brief." in tokenizer.decode(once.ids)
    assert tokenizer.decode(once.ids[once.last :]) == " The river runs by the mill.</s>"
    with pytest.raises(DataError, match="renders earlier turns differently"):
        renderer.conversation([system, ASKED, SAID, AGAIN, SHORT])
    with pytest.raises(DataError, match="roles must alternate"):
        renderer.conversation([ASKED, ASKED, SAID])


def test_an_answer_without_an_end_token_gets_the_end_of_sequence() -> None:
    tokenizer = tokenizer_of("mistral-7b")
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    assert renderer_of("mistral-7b", tokenizer).answer([ASKED], "Yes")[-1] == tokenizer.eos_token_id
    tokenizer.eos_token = None
    with pytest.raises(DataError, match="never learn to stop"):
        Renderer(tokenizer).answer([ASKED], "Yes")
