"""Keys, refusals and servers that die: a person is told what happened, and loses nothing that was typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from spar_server.auth.keyring import sha256_of
from tests.support.spar_serve import SparServe
from tests.ui.conftest import Open, Serve
from tests.ui.playground import QUESTION, ask, fill, nodes


def test_a_server_with_keys_asks_for_one_and_says_if_it_is_wrong(open_page: Open, serve: Serve) -> None:
    with serve(f'[[keys]]\nname = "visitor"\nsha256 = "{sha256_of("secret")}"\n') as server:
        page = open_page(server)
        dialog = page.get_by_role("dialog", name="API key")
        expect(dialog.get_by_text("This server asks for a key.")).to_be_visible()
        dialog.get_by_label("Key", exact=True).fill("wrong")
        dialog.get_by_role("button", name="Use key").click()
        expect(dialog.get_by_role("alert")).to_have_text("The server does not know this key.")
        dialog.get_by_label("Key", exact=True).fill("secret")
        dialog.get_by_role("button", name="Use key").click()
        expect(dialog).to_be_hidden()
        expect(page.get_by_role("combobox", name="Model").locator("option")).to_have_text(["pair"])
        ask(page, budget=1)
        # A key that the server forgets meanwhile.
        page.get_by_role("button", name="Change key").click()
        dialog.get_by_label("Key", exact=True).fill("old")
        dialog.get_by_role("button", name="Use key").click()
        expect(dialog.get_by_role("alert")).to_be_visible()
        dialog.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Ask", exact=True).click()
        expect(dialog.get_by_role("alert")).to_be_visible()
        dialog.get_by_role("button", name="Cancel").click()
        expect(page.get_by_role("textbox", name="Prompt")).to_have_value(QUESTION)


def test_a_server_that_dies_in_the_midst_of_a_search_loses_nothing(open_page: Open, serve: Serve) -> None:
    with serve() as server:
        page = open_page(server)
        fill(page, budget=64, forbid=True)
        page.get_by_role("button", name="Ask", exact=True).click()
        expect(nodes(page).nth(2)).to_be_visible()
        server.process.kill()
        expect(page.get_by_role("alert")).to_contain_text("The server does not answer. Is it still running?")
        expect(page.get_by_text("The search was interrupted before it had an answer.")).to_be_visible()
        assert nodes(page).count() > 2
        expect(page.locator("[data-state=judging], [data-state=refining]")).to_have_count(0)
        _typed_is_still_there(page)
        # Asked again, it says so again.
        page.get_by_role("button", name="Dismiss").click()
        page.get_by_role("button", name="Ask", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")
        _typed_is_still_there(page)


def _typed_is_still_there(page: Page) -> None:
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value(QUESTION)
    expect(page.get_by_role("spinbutton", name="Budget, exactly")).to_have_value("64")
    expect(page.get_by_text("Search options and checks (1 set)")).to_be_visible()


def test_what_the_server_refuses_is_told_in_its_words(open_page: Open, server: SparServe) -> None:
    page = open_page(server)
    fill(page, budget=100_000)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("refine_budget: 100000 is over the limit of 64")
    fill(page, budget=1)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("button", name="Copy answer")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_trace_that_is_not_there_is_told(open_page: Open, server: SparServe) -> None:
    page = open_page(server, f"/ui#/traces/{'0' * 32}")
    expect(page.get_by_role("alert")).to_contain_text("0" * 32)
    expect(page.get_by_text("Loading")).to_have_count(0)
    page.get_by_role("link", name="See all traces").click()
    expect(page.get_by_role("heading", name="Traces")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json", "This file is not JSON."),
        (json.dumps({"trees": []}), "This file has no search tree."),
        (json.dumps({"trees": [{"nodes": [{"path": []}]}]}), "This file has no search tree."),
        (json.dumps([1, 2]), "This file has no search tree."),
    ],
)
def test_a_file_that_is_no_trace_is_refused(
    open_page: Open, server: SparServe, tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "other.json").write_text(content)
    page = open_page(server, "/ui#/traces")
    page.get_by_label("Open a trace file").set_input_files(tmp_path / "other.json")
    expect(page.get_by_role("alert")).to_contain_text(message)
    expect(page.get_by_role("heading", name="Traces")).to_be_visible()
