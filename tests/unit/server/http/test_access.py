"""Who gets which answers before any key is looked at: hosts, origins, /metrics and the documentation."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from spar_server.auth.keyring import sha256_of
from spar_server.settings import ApiKey, Settings
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
KEYS = (ApiKey(name="alice", sha256=sha256_of("secret")),)


@pytest.fixture(scope="module")
def url(serving: Serving) -> Iterator[str]:
    with serving(scripted_pair()) as url:
        yield url


# Names of the server


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:8000", "127.9.9.9", "[::1]:8000", "spar.localhost", "localhost."]
)
def test_a_server_without_keys_answers_to_this_machines_names(url: str, host: str) -> None:
    assert httpx.get(f"{url}/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/health", "/docs"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.io", "["]
)
def test_a_server_without_keys_answers_to_no_other_name(url: str, host: str, path: str) -> None:
    response = httpx.get(f"{url}{path}", headers={"Host": host})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "host_not_allowed")
    assert "allowed_hosts" in response.json()["error"]["message"]


def test_more_names_can_be_allowed(serving: Serving) -> None:
    with serving(scripted_pair(), Settings(allowed_hosts="spar.example, Other.example")) as url:
        for host, status in (("spar.example", 200), ("other.example:80", 200), ("third.example", 403)):
            assert httpx.get(f"{url}/v1/models", headers={"Host": host}).status_code == status


def test_with_keys_the_name_does_not_matter(serving: Serving) -> None:
    headers = {"Authorization": "Bearer secret", "Host": "spar.example"}
    with serving(scripted_pair(), Settings(keys=KEYS)) as url:
        assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 200


# Web pages of other origins


PREFLIGHT = {
    "Origin": "https://chat.example",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type, x-stainless-os",
}


def test_web_pages_may_not_call_unless_they_are_allowed_to(url: str) -> None:
    response = httpx.options(f"{url}/v1/chat/completions", headers=PREFLIGHT)
    assert "access-control-allow-origin" not in response.headers
    response = httpx.get(f"{url}/v1/models", headers={"Origin": "https://chat.example"})
    assert "access-control-allow-origin" not in response.headers


def test_web_pages_that_are_allowed_to_may_call_with_a_key(serving: Serving) -> None:
    with serving(scripted_pair(), Settings(keys=KEYS, cors_origins="https://chat.example")) as url:
        asked = httpx.options(f"{url}/v1/chat/completions", headers=PREFLIGHT)
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == "https://chat.example"
        assert "x-stainless-os" in asked.headers["access-control-allow-headers"]
        # A refusal has to be readable too.
        refused = httpx.get(f"{url}/v1/models", headers={"Origin": "https://chat.example"})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://chat.example")
        # So has what clients decide by whether and when to send a request again.
        assert {"retry-after", "x-should-retry"} <= set(refused.headers["access-control-expose-headers"].split(", "))
        other = httpx.get(f"{url}/v1/models", headers={"Origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"cors_origins": "chat.example"}, "https://chat.example.com"),
        ({"cors_origins": "https://chat.example/"}, "https://chat.example.com"),
        ({"allowed_hosts": "https://spar.example"}, "without scheme and port"),
        ({"port": 8000, "metrics": {"port": 8000}}, "choose another"),
    ],
)
def test_a_wrong_setting_is_refused_with_the_fix(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(says)):
        Settings(**settings)


# Metrics


def test_metrics_with_a_key_of_their_own_are_for_its_owner(serving: Serving) -> None:
    with serving(scripted_pair(), Settings(keys=KEYS, metrics={"key_sha256": sha256_of("watch")})) as url:
        for key, status in ((None, 401), ("secret", 401), ("watch", 200)):
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            assert httpx.get(f"{url}/metrics", headers=headers).status_code == status
        assert httpx.get(f"{url}/v1/models", headers={"Authorization": "Bearer watch"}).status_code == 401


def test_metrics_on_their_own_port_are_only_there_and_alone_there(serving: Serving) -> None:
    with socket.create_server(("127.0.0.1", 0)) as own:
        port = own.getsockname()[1]
        with serving(scripted_pair(), Settings(metrics={"port": port}), sockets=[own]) as url:
            there = f"http://127.0.0.1:{port}"
            assert httpx.get(f"{there}/metrics").status_code == 200
            assert httpx.get(f"{url}/metrics").status_code == 404
            assert httpx.get(f"{url}/health").status_code == 200
            assert httpx.get(f"{there}/health").status_code == 404
            assert httpx.post(f"{there}/v1/chat/completions", json={}).status_code == 404


# The documentation


def test_the_root_sends_people_to_the_documentation(url: str) -> None:
    response = httpx.get(url, follow_redirects=True)
    assert (response.status_code, response.url.path) == (200, "/docs")
    assert httpx.head(url).status_code == 307


def test_the_documentation_loads_nothing_from_elsewhere(serving: Serving) -> None:
    with serving(scripted_pair(), Settings(keys=KEYS)) as url:
        page = httpx.get(f"{url}/docs")
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in page.headers["content-security-policy"]
        assert "unsafe" not in page.headers["content-security-policy"]
        loaded = re.findall(r'(?:src|href)="([^"]*)"', page.text)
        assert len(loaded) == 4
        assert page.text.count("<script") == len(re.findall(r"<script src=[^>]*></script>", page.text)) == 2
        for address in loaded:
            assert not re.match(r"\w+:|/", address)
            file = httpx.get(f"{url}/{address}")
            assert (file.status_code, bool(file.content)) == (200, True)
        assert "SwaggerUIBundle({" in httpx.get(f"{url}/docs/start.js").text
        assert "SwaggerUIBundle" in httpx.get(f"{url}/docs/swagger-ui-bundle.js").text
        assert httpx.get(f"{url}/openapi.json").json()["info"]["title"] == "SPaR Server"


@pytest.mark.parametrize("path", ["/docs/redoc.standalone.js", "/docs/../core.py", "/docs/%2e%2e%2fcore.py", "/redoc"])
def test_nothing_but_the_documentation_is_served(url: str, path: str) -> None:
    assert httpx.get(f"{url}{path}").status_code == 404
