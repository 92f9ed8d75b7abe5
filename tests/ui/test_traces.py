"""Stored searches: the list, the link, the file."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from spar_server.settings import TraceSettings
from spar_server.traces.database import open_database
from spar_server.traces.store import TraceStore
from tests.support.spar_serve import SparServe
from tests.support.traces import record
from tests.ui.conftest import Open, Serve
from tests.ui.playground import QUESTION, answer_of, ask, nodes

# Drops the file whose text it is given.
_DROP = """text => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([text], "trace.json", { type: "application/json" }));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def trace_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("saved") / "trace.json"


def test_a_link_opens_the_same_search_for_someone_else(open_page: Open, server: SparServe, trace_file: Path) -> None:
    page = open_page(server)
    ask(page, budget=3, forbid=True)
    page.get_by_role("link", name="Open as trace").click()
    expect(page.get_by_role("heading", name="Trace", exact=True)).to_be_visible()
    other = open_page(server, page.url.removeprefix(server.url))
    expect(nodes(other)).to_have_count(4)
    expect(other.get_by_text(QUESTION)).to_be_visible()
    expect(other.get_by_text("3 of 3", exact=True)).to_be_visible()
    expect(other.get_by_role("table", name="Tokens by role")).to_be_visible()
    # Back at the question, nothing is lost.
    page.get_by_role("link", name="Ask").click()
    expect(page.get_by_role("textbox", name="Prompt")).to_have_value(QUESTION)
    assert answer_of(page) == answer_of(other)
    with other.expect_download() as saved:
        other.get_by_role("button", name="Save as file").click()
    saved.value.save_as(trace_file)
    dropped = open_page(server)
    dropped.evaluate(_DROP, trace_file.read_text())
    expect(dropped.get_by_role("heading", name="Trace file")).to_be_visible()
    expect(nodes(dropped)).to_have_count(4)
    assert answer_of(dropped) == answer_of(other)


def test_a_dropped_response_with_its_tree_is_shown_too(open_page: Open, server: SparServe) -> None:
    body: dict[str, Any] = {"refine": {"trace": "full"}}
    response = server.ask(text=QUESTION, refine_budget=2, **body)
    page = open_page(server, "/ui#/compare")
    page.evaluate(_DROP, response.text)
    expect(page.get_by_role("heading", name="Trace file")).to_be_visible()
    assert answer_of(page) == response.json()["choices"][0]["message"]["content"]


def test_a_file_says_why_candidates_failed(open_page: Open, server: SparServe) -> None:
    problems = {
        "no_start": "The reply did not begin the refined answer where it should.",
        "no_end": "The reply was cut off before its end.",
        "empty": "The reply was empty.",
        "upstream: status 503": "upstream: status 503",
    }
    draft = {"path": [], "outcome": "judged", "value": 0.0, "text": "A draft."}
    failed = [
        {"path": [number], "outcome": "failed", "value": None, "problem": problem}
        for number, problem in enumerate(problems)
    ]
    page = open_page(server)
    page.evaluate(_DROP, json.dumps({"trees": [{"nodes": [draft, *failed], "answer": [], "stop_reason": "budget"}]}))
    for number, told in enumerate(problems.values(), start=1):
        nodes(page).nth(number).click()
        expect(page.get_by_role("region", name=f"Node {number}").get_by_text(told)).to_be_visible()


def test_a_long_list_is_virtualised_and_loads_page_by_page(open_page: Open, serve: Serve, tmp_path: Path) -> None:
    # Playwright has an event loop in this thread.
    with ThreadPoolExecutor() as thread:
        thread.submit(asyncio.run, _store(tmp_path / "spar-traces.sqlite", 130)).result()
    with serve("", folder=tmp_path) as server:
        page = open_page(server, "/ui#/traces")
        frame = page.get_by_role("region", name="Stored searches")
        expect(frame.get_by_role("link").first).to_contain_text("of 129 nodes")
        assert frame.get_by_role("link").count() < 50
        # The oldest is on the third page.
        while not frame.get_by_text("of 0 nodes").count():
            last = frame.get_by_role("link").last.get_attribute("href") or ""
            frame.evaluate("frame => frame.scrollTop += 600")
            expect(frame.get_by_role("link").last).not_to_have_attribute("href", last)
            assert frame.get_by_role("link").count() < 50
        page.get_by_role("combobox", name="Show").select_option("improved")
        expect(frame.get_by_role("link").first).to_contain_text("of 128 nodes")


async def _store(path: Path, count: int) -> None:
    store = TraceStore(open_database(TraceSettings(path=path)))
    await store.open()
    now = time.time()
    # The key is that of servers without keys.
    await store.add(
        [
            record(number, created=now - count + number, key="anonymous", budget=number, improved=number % 2 == 0)
            for number in range(count)
        ]
    )
    await store.aclose()


def test_a_server_without_traces_says_how_to_store_them(open_page: Open, serve: Serve) -> None:
    with serve(record="off") as server:
        page = open_page(server)
        ask(page, budget=1)
        expect(page.get_by_role("link", name="Open as trace")).to_have_count(0)
        page.get_by_role("link", name="Traces").click()
        expect(page.get_by_role("heading", name="This server stores no traces")).to_be_visible()
        expect(page.get_by_text("SPAR_TRACES__RECORD=on")).to_be_visible()
