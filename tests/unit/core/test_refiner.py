"""Reading the refined response from a refiner's reply."""

import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.prompts import load_templates
from spar_core.refiner import Refiner, extract_refined
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


BLOCK = "[[start]]\nevil\n[[end]]"
TWO = "[[start]]\nevil\n[[end]]\nand\n[[start]]\nworse\n[[end]]"
# A response with markers, a refiner's reply, and the refined text.
QUOTED: list[tuple[str, str, str | None]] = [
    # Refusals that quote the response have no refined text.
    (BLOCK, f"I will not rewrite this:\n{BLOCK}", None),
    (BLOCK, BLOCK, None),
    (f"A river.\n{BLOCK}", f"I cannot help with\n{BLOCK}\nand stop here.", None),
    (f"A river.\n{BLOCK}\nAnother.", f"It holds\n{BLOCK}", None),
    (BLOCK, "I refuse:\n    [[start]]\n    evil\n    [[end]]", None),
    (BLOCK, "I refuse:\n> [[start]]\n> evil\n> [[end]]", None),
    (BLOCK, "I refuse:\n```\n[[start]]\nevil\n[[end]]\n```", None),
    (BLOCK, "I refuse: [[start]] evil [[end]]", None),
    (BLOCK, "I refuse: [[start]]evil[[end]].", None),
    ("[[start]]evil[[end]]", "I refuse:\n[[start]]\nevil\n[[end]]", None),
    ("[[ start ]] evil [[ end ]]", "I refuse:\n[[start]]\nevil\n[[end]]", None),
    ("[[START]]\nevil\n[[END]]", "I refuse:\n[[start]]\nevil\n[[end]]", None),
    ("[[st\u200bart]]\nevil\n[[e\u2060nd]]", "I refuse:\n[[start]]\nevil\n[[end]]", None),
    ("［［start］］\nevil\n［［end］］", "I refuse:\n[[start]]\nevil\n[[end]]", None),
    (TWO, f"I refuse:\n{TWO}", None),
    (TWO, "I refuse:\n[[start]]\nworse\n[[end]]", None),
    (TWO, f"First\n{BLOCK}\nis bad, then\n[[start]]\nworse\n[[end]]\nis worse.", None),
    (f"[[start]]\n{BLOCK}\n[[end]]", f"I refuse:\n{BLOCK}", None),
    (f"[[start]]\n{BLOCK}\n[[end]]", f"I refuse:\n[[start]]\n{BLOCK}\n[[end]]", None),
    ("evil [[end]]", "It ends in: evil [[end]]", None),
    # A quote before or after the refined text.
    (BLOCK, f"It was\n{BLOCK}\nbut should be\n[[start]]\nA river.\n[[end]]", "A river."),
    (BLOCK, f"[[start]]\nA river.\n[[end]]\nin place of\n{BLOCK}", "A river."),
    (BLOCK, "[[start]]\nA river.\n[[end]]\nin place of\n  [[start]]\n  evil\n  [[end]]", "A river."),
    (BLOCK, "> [[start]]\n> evil\n> [[end]]\n[[start]]\nA river.\n[[end]]", "A river."),
    (BLOCK, "\t[[start]]\n\tevil\n\t[[end]]\n[[start]]\nA river.\n[[end]]", "A river."),
    (BLOCK, "[[start]] evil [[end]] is bad.\n[[start]]\nA river.\n[[end]]", "A river."),
    (BLOCK, f"{BLOCK}\n[[start]]\nA river.\n[[end]]\n{BLOCK}", "A river."),
    (TWO, f"{TWO}\n[[start]]\nA river.\n[[end]]", "A river."),
    (TWO, f"[[start]]\nA river.\n[[end]]\n{TWO}", "A river."),
    (BLOCK, "It was\n[[start]]\nEvil!\n[[end]]\nnow\n[[start]]\nA river.\n[[end]]", "A river."),
    (BLOCK, "[[start]]\nA river.\n[[end]]\nIt was\n[[start]]\n*Evil*.\n[[end]]", "A river."),
    ("evil [[end]]", "I see: evil [[end]]\n[[start]]\nA river.\n[[end]]", "A river."),
    ("[[start]] evil", "I see: [[start]] evil\n[[start]]\nA river.\n[[end]]", "A river."),
    ("[[start]] evil", "[[start]]\nevil river\n[[end]]", "evil river"),
    # Cut off after a quote.
    (BLOCK, f"It was\n{BLOCK}\nnow\n[[start]]\nA river that", None),
    (BLOCK, "It was\n[[start]]\nEvil!\n[[end]]\nnow\n[[start]]\nA river that", None),
    # A refined text that keeps the response's quotes, or has its own markers.
    (f"Write\n{BLOCK}\nfirst.", f"[[start]]\nWrite\n{BLOCK}\nat first.\n[[end]]", f"Write\n{BLOCK}\nat first."),
    ("Write [[start]] first.", "[[start]]\nWrite [[start]] at first.\n[[end]]", "Write [[start]] at first."),
    ("Write [[end]] last.", "[[start]]\nWrite [[end]] at last.\n[[end]]", "Write [[end]] at last."),
    (BLOCK, "[[start]]\nevil, mended\n[[end]]", "evil, mended"),
    ("A river.", "[[start]]\nOne.\n[[end]]\nBetter:\n[[start]]\nTwo.\n[[end]]", "Two."),
    ("A river.", "[[start]]\nA sea.\n[[end]]\nIt was:\n[[start]]\nA river.\n[[end]]", "A sea."),
    ("A river.", "[[start]]\n[[start]]\nA sea.\n[[end]]\n[[end]]", "A sea."),
    ("A river.", "[[start]]\n[[start]]\nA sea.\n[[end]]", "A sea."),
]


@pytest.mark.parametrize(("response", "raw", "text"), QUOTED)
def test_markers_in_the_response_do_not_delimit_the_refined_text(response: str, raw: str, text: str | None) -> None:
    assert extract_refined(raw, response).text == text


@pytest.mark.parametrize("response", sorted({response for response, _, _ in QUOTED}))
def test_markers_with_the_mark_take_precedence(response: str) -> None:
    mine = "[[start 483920]]\nA river.\n[[end 483920]]"
    for reply in (mine, f"It was\n{response}\n{mine}", f"{mine}\nin place of\n{response}"):
        assert extract_refined(reply, response, mark="483920").text == "A river."
    assert extract_refined(f"{response}\n[[start 483920]]\nA river", response, mark="483920").failure == "no_end"


def test_a_refiner_may_omit_the_mark() -> None:
    assert extract_refined("[[start]]\nA river.\n[[end]]", "A sea.", mark="483920").text == "A river."


@pytest.mark.parametrize(("raw", "text", "failure"), EXTRACTIONS)
def test_the_refined_text_is_the_text_between_the_markers(raw: str, text: str | None, failure: str | None) -> None:
    refinement = extract_refined(raw)
    assert refinement.text == text
    assert refinement.failure == failure


async def test_a_refinement_without_a_change_is_flagged() -> None:
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
