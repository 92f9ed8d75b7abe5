"""How a refined response is read, and what counts as none."""

import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.prompts import load_templates
from spar_core.refining import Refiner, extract_refined
from spar_core.types import Message

EXTRACTIONS = [
    ("[[start]]\nA river.\n[[end]]", "A river.", None),
    ("I will add a river.\n[[start]]\nA river.\n[[end]]\n", "A river.", None),
    ("[[start]] A river. [[end]]", "A river.", None),
    ("[[start]]A\nriver.[[end]] I hope it is better.", "A\nriver.", None),
    ("I put it between [[start]] and [[end]].\n[[start]]\nA river.\n[[end]]", "A river.", None),
    ("It goes between [[start]] and [[end]]: [[start]]A river.[[end]]", "A river.", None),
    ("[[start]]\nThe mark [[start]] opens it.\n[[end]]", "The mark [[start]] opens it.", None),
    ("[[start]]\nUse [[start]] x [[end]] marks.\n[[end]]", "Use [[start]] x [[end]] marks.", None),
    ("[[start]]\nA\n\nB\n[[end]]", "A\n\nB", None),
    ("[[start]]\nA river that was cut", None, "no_end"),
    ("[[start]] A river that was cut", None, "no_end"),
    ("between [[start]] and [[end]]\n[[start]]\nA river that was cut", None, "no_end"),
    ("A river.", None, "no_start"),
    ("A river. [[end]]", None, "no_start"),
    ("[[start]]\n\n[[end]]", None, "empty"),
    ("", None, "no_start"),
]


@pytest.mark.parametrize(("raw", "text", "failure"), EXTRACTIONS)
def test_the_refined_text_is_what_stands_between_the_markers(raw: str, text: str | None, failure: str | None) -> None:
    refinement = extract_refined(raw)
    assert refinement.text == text
    assert refinement.failure == failure


async def test_a_refinement_that_changes_nothing_says_so() -> None:
    refiner = Refiner(backend=ScriptedBackend(always("[[start]]\nA.\n[[end]]")), templates=load_templates("default"))
    question = [Message("user", "Write.")]
    assert (await refiner.refine(question, "A. ", "bad")).unchanged
    assert not (await refiner.refine(question, "B.", "bad")).unchanged


async def test_refining_continues_the_judges_own_conversation() -> None:
    backend = ScriptedBackend(always("[[start]]\nA.\n[[end]]"))
    templates = load_templates("default")
    question = [Message("user", "Write.")]
    await Refiner(backend=backend, templates=templates).refine(question, "B.", "It is bad.")
    messages, _ = backend.calls[0]
    assert list(messages[:1]) == templates.judge(question, "B.")
    assert [message.role for message in messages] == ["user", "assistant", "user"]
    assert messages[1].text == "It is bad."
