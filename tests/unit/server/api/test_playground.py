"""The playground's page and files, as the server serves them; tests/ui uses the page in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import httpx
import pytest

from spar_server.auth.keyring import sha256_of
from spar_server.http.headers import PLAYGROUND_FILES
from spar_server.settings import ApiKey, Settings
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def url(serving: Serving) -> Iterator[str]:
    # With keys: the page itself needs none.
    with serving(scripted_pair(), Settings(keys=(ApiKey(name="a", sha256=sha256_of("secret")),))) as url:
        yield url


def test_the_root_sends_browsers_to_the_playground_and_others_to_the_documentation(url: str) -> None:
    assert httpx.get(url, headers=BROWSER).headers["location"] == "ui"
    assert httpx.get(url).headers["location"] == "docs"


def test_the_page_loads_its_own_files_and_nothing_from_elsewhere(url: str) -> None:
    page = httpx.get(f"{url}/ui")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    # Relative, so that the page also works behind a proxy's path prefix.
    assert {address.removeprefix("./") for address in loaded} == {f"ui/{name}" for name in PLAYGROUND_FILES}
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page.text)
    for address in loaded:
        file = httpx.get(f"{url}/{address}")
        assert (file.status_code, bool(file.content)) == (200, True)
        assert file.headers["x-content-type-options"] == "nosniff"


def test_everything_together_is_under_150_kb_gzipped(url: str) -> None:
    size = 0
    for path in ("ui", *(f"ui/{name}" for name in PLAYGROUND_FILES)):
        with httpx.stream("GET", f"{url}/{path}", headers={"Accept-Encoding": "gzip"}) as response:
            assert response.headers["content-encoding"] == "gzip"
            size += len(b"".join(response.iter_raw()))
    assert size < 150_000


def test_a_file_that_has_not_changed_is_not_sent_again(url: str) -> None:
    first = httpx.get(f"{url}/ui/playground.js")
    again = httpx.get(f"{url}/ui/playground.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    plain = httpx.get(f"{url}/ui/playground.js", headers={"Accept-Encoding": "identity"})
    assert plain.content == first.content


@pytest.mark.parametrize("path", ["/ui/index.html", "/ui/../app.py", "/ui/%2e%2e%2fapp.py", "/ui/x/y"])
def test_nothing_but_the_playground_is_served(url: str, path: str) -> None:
    assert httpx.get(f"{url}{path}").status_code == 401
    assert httpx.get(f"{url}{path}", headers={"Authorization": "Bearer secret"}).status_code == 404


def test_a_slash_at_the_end_leads_to_the_page(url: str) -> None:
    assert httpx.get(f"{url}/ui/", follow_redirects=True).url.path == "/ui"


def test_a_setting_turns_it_off(serving: Serving) -> None:
    with serving(scripted_pair(), Settings(playground=False)) as url:
        refused = httpx.get(f"{url}/ui")
        assert (refused.status_code, httpx.get(f"{url}/ui/playground.js").status_code) == (404, 404)
        assert httpx.get(url, headers=BROWSER).headers["location"] == "docs"
        assert httpx.get(f"{url}/docs").status_code == 200
