"""The page for everyone: keyboard, screen readers, phones, the dark."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.support.spar_serve import SparServe
from tests.ui.conftest import Open
from tests.ui.playground import QUESTION, ask, fill, nodes

PHONE = {"width": 360, "height": 740}


def the_start(page: Page) -> None:
    page.get_by_text("Search options and checks").click()
    page.get_by_role("combobox", name="Add a check").select_option("keywords:existence")
    page.get_by_role("button", name="Add a message").click()


def a_search(page: Page) -> None:
    ask(page, budget=3, forbid=True)
    nodes(page).nth(1).click()
    for fold in page.locator(".details summary").all():
        if fold.locator("xpath=..").get_attribute("open") is None:
            fold.click()


def a_comparison(page: Page) -> None:
    page.get_by_role("link", name="Compare").click()
    fill(page, budget=None, forbid=True)
    page.get_by_role("spinbutton", name="Budget B, exactly").fill("3")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="What differs")).to_be_visible()


def the_traces(page: Page) -> None:
    ask(page, budget=1)
    page.get_by_role("link", name="Traces").click()
    expect(page.get_by_role("region", name="Stored searches").get_by_role("link").first).to_be_visible()


def a_trace(page: Page) -> None:
    ask(page, budget=2, forbid=True)
    page.get_by_role("link", name="Open as trace").click()
    expect(page.get_by_role("button", name="Save as file")).to_be_visible()


def an_error(page: Page) -> None:
    fill(page, budget=100_000)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("alert")).to_be_visible()


def the_key(page: Page) -> None:
    page.get_by_role("button", name="API key").click()
    expect(page.get_by_role("dialog")).to_be_visible()


@pytest.mark.parametrize("show", [the_start, a_search, a_comparison, the_traces, a_trace, an_error, the_key])
def test_axe_finds_no_violation_in_the_light_and_in_the_dark_and_phones_need_not_scroll_sideways(
    open_page: Open, server: SparServe, show: Callable[[Page], None]
) -> None:
    page = open_page(server, reduced_motion="reduce")
    show(page)
    grounds = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        found = Axe().run(page)
        assert found.violations_count == 0, f"{scheme}\n{found.generate_report()}"
    assert grounds[0] != grounds[1]
    page.set_viewport_size(PHONE)
    width = page.evaluate("document.scrollingElement.scrollWidth")
    assert width <= PHONE["width"]
    found = Axe().run(page)
    assert found.violations_count == 0, f"phone\n{found.generate_report()}"


def test_everything_can_be_done_by_keyboard(open_page: Open, server: SparServe) -> None:
    page = open_page(server)
    _tab_to(page, "textarea")
    page.keyboard.type(QUESTION)
    _tab_to(page, "input[type=range]")
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    _tab_to(page, "summary")
    page.keyboard.press("Enter")
    _tab_to(page, "input[type=search]")
    page.keyboard.type("no comma")
    _tab_to(page, "select")
    page.keyboard.type("No comma")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    expect(page.get_by_text("of 3", exact=False).first).to_be_visible()
    _tab_to(page, "[role=treeitem]")
    if nodes(page).count() > 1:
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("region", name="Node 1", exact=True)).to_be_visible()
        page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("region", name="Draft")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("status")).to_have_count(0)
    _tab_to(page, "summary")
    _tab_to(page, "a[href='#/traces']", back=True)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Traces")).to_be_visible()


def _tab_to(page: Page, selector: str, *, back: bool = False) -> None:
    """Press Tab until what has the focus matches."""
    for _ in range(80):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none" or selector == "[role=treeitem]", f"no one sees that {selector} has the focus"
            return
    raise AssertionError(f"Tab never reaches {selector}")


def test_a_finger_finds_everything_on_a_phone(open_page: Open, server: SparServe) -> None:
    page = open_page(server, viewport=PHONE, has_touch=True, is_mobile=True)
    fill(page, budget=3, forbid=True)
    page.get_by_role("button", name="Ask", exact=True).tap()
    expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    nodes(page).nth(1).tap()
    expect(page.get_by_role("region", name="Node 1", exact=True)).to_be_visible()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
