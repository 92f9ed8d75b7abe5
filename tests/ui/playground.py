"""What a person does on the page."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.support.spar_serve import SparServe

# The tiny pair mostly needs a refinement for it.
QUESTION = "Tell me about the river. Do not use commas. Include the words lamp and bell. Write at least 4 sentences."


def fill(page: Page, *, question: str = QUESTION, budget: int | None = 4, forbid: bool = False, **options: str) -> None:
    """Fill in the form; with `forbid`, a check that no answer of the tiny pair passes, so the budget is spent."""
    page.get_by_role("textbox", name="Prompt").fill(question)
    if budget is not None:
        page.get_by_role("spinbutton", name="Budget, exactly").fill(str(budget))
    if not forbid and not options:
        return
    page.get_by_text("Search options and checks").locator("visible=true").click()
    for name, value in options.items():
        page.get_by_role("spinbutton", name=name).fill(value)
    if forbid:
        page.get_by_role("combobox", name="Add a check").select_option("keywords:existence")
        page.get_by_role("textbox", name="keywords").fill("zebra")
        page.get_by_role("textbox", name="keywords").blur()
    page.get_by_text("Search options and checks").locator("visible=true").click()


def ask(page: Page, **form: Any) -> None:
    """Ask, and wait for the end of the search."""
    fill(page, **form)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("button", name="Copy answer")).to_be_visible()


def ask_until_refined(page: Page) -> None:
    """Ask until a refinement is the answer; some drafts are accepted as they are."""
    for seed in range(3, 30):
        ask(page, Seed=str(seed))
        if page.get_by_text("A refinement was accepted").locator("visible=true").count():
            return
    raise AssertionError("no seed needed a refinement")


def nodes(page: Page) -> Locator:
    return page.get_by_role("treeitem")


def answer_of(page: Page) -> str:
    return page.get_by_role("region", name="Answer").locator(".answer-text").inner_text()


def trace_of(page: Page, server: SparServe) -> dict[str, Any]:
    """The stored trace that the page links to."""
    link = page.get_by_role("link", name="Open as trace").get_attribute("href") or ""
    trace: dict[str, Any] = page.request.get(f"{server.url}/v1/traces/{link.rpartition('/')[2]}").json()
    return trace
