"""A real browser on real servers. `make test-ui` makes the environment; the browser is Debian's chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.spar_serve import SparServe, spar_serve

collect_ignore_glob = [] if find_spec("playwright") else ["test_*.py"]
if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
# Longer than anything takes, however busy the machine.
PATIENCE_MS = 600_000

Open = Callable[..., "Page"]
Serve = Callable[..., AbstractContextManager[SparServe]]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import expect, sync_playwright

    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        # It has no sandbox in a container; only our own page is opened.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE_MS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Start `spar serve` with the tiny pair, which refines within seconds, and a trace store."""

    @contextmanager
    def start(
        settings: str = "", *, pair: str = "tiny", record: str = "on", folder: Path | None = None
    ) -> Iterator[SparServe]:
        lines = f'pair = "{pair}"\n{settings}\n[traces]\nrecord = "{record}"\n'
        with spar_serve(folder or tmp_path_factory.mktemp("server"), lines) as server:
            yield server

    return start


@pytest.fixture(scope="session")
def server(serve: Serve) -> Iterator[SparServe]:
    with serve() as server:
        yield server


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open the page of a server as a new visitor.

    At the end of the test nothing may have been requested from elsewhere, and the browser may have found no error in
    the page, such as something that the Content-Security-Policy forbids.
    """
    contexts = []
    servers: list[str] = []
    requested: list[str] = []
    errors: list[str] = []

    def open_page(server: SparServe, path: str = "/ui", **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.on("request", lambda request: requested.append(request.url))
        # What the server refuses is the page's to tell; the browser notes it all the same.
        context.on(
            "console",
            lambda message: (
                errors.append(message.text)
                if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource")
                else None
            ),
        )
        context.on("weberror", lambda error: errors.append(str(error.error)))
        page = context.new_page()
        servers.append(server.url)
        page.goto(server.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert [url for url in requested if not url.startswith((*servers, "blob:", "data:"))] == []
