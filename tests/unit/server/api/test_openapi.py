"""The OpenAPI document, held against the server: requests made up from it meet no 5xx, and answers are as it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from spar_core.backends.scripted import always
from spar_server.app import create_app
from spar_server.auth.keyring import sha256_of
from spar_server.http.headers import OPEN_PATHS
from spar_server.settings import BatchSettings, Settings, TraceSettings
from tests.support.pairs import RawScripted, scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 20


@pytest.fixture(scope="module")
def url(serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pair = replace(scripted_pair(), name="spar-small", actor=RawScripted(always("a plain draft")))
    traces = TraceSettings(path=tmp_path_factory.mktemp("batches") / "batches.sqlite")
    with serving(pair, Settings(batches=BatchSettings(enabled=True), traces=traces)) as url:
        yield url


@pytest.fixture(scope="module")
def api(url: str) -> Any:
    return schemathesis.openapi.from_url(f"{url}/openapi.json")


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


DOCUMENT = create_app(Settings(), scripted_pair()).openapi()


@pytest.mark.parametrize(("path", "method"), [(path, method) for path, method, _ in operations(DOCUMENT)])
def test_made_up_requests_meet_no_5xx_and_answers_are_as_described(api: Any, path: str, method: str) -> None:
    statuses: set[int] = set()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=api[path][method.upper()].as_strategy())
    def hold(case: Any) -> None:
        # Of a model that is not there only the refusal could be tried, time and again.
        if isinstance(case.body, dict) and "model" in case.body:
            case.body["model"] = "spar-small"
        statuses.add(case.call_and_validate(checks=CHECKS).status_code)

    hold()
    names_something = method == "get" or "{" in path
    assert statuses & ({200, 404} if names_something else {200, 400})


def test_every_operation_promises_errors_in_the_shape_of_its_api() -> None:
    for path, _, operation in operations(DOCUMENT):
        assert "422" not in operation["responses"], path
        if path.startswith("/v1/"):
            name, keys = "ErrorBody", {"message", "type", "param", "code"}
            if path == "/v1/messages":
                name, keys = "MessageErrorBody", {"message", "type"}
            for errors in ("4XX", "5XX"):
                media_type = operation["responses"][errors]["content"]["application/json"]
                assert media_type["schema"] == {"$ref": f"#/components/schemas/{name}"}
                # The document leaves out what is null.
                assert keys - set(media_type["example"]["error"]) <= {"param"}


def test_every_request_and_answer_has_an_example_and_the_examples_work(url: str) -> None:
    document = httpx.get(f"{url}/openapi.json").json()
    tried = []
    for path, method, operation in operations(document):
        if not path.startswith("/v1/"):
            continue
        content = operation["responses"]["200"]["content"]
        assert "application/octet-stream" in content or content["application/json"]["example"], path
        # Nothing is stored here to give feedback on, and no file for a batch.
        if method == "post" and "{" not in path and path not in ("/v1/files", "/v1/batches"):
            name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            example = document["components"]["schemas"][name]["example"]
            body = json.dumps(example | {"model": "spar-small"})
            response = httpx.post(f"{url}{path}", content=body, headers={"Content-Type": "application/json"})
            assert response.status_code == 200, response.text
            tried.append(path)
    assert {"/v1/chat/completions", "/v1/judge"} <= set(tried)


def test_the_extensions_are_described(url: str) -> None:
    schemas = httpx.get(f"{url}/openapi.json").json()["components"]["schemas"]
    for request in ("ChatRequest", "ResponsesRequest", "RefineRequest"):
        properties = schemas[request]["properties"]
        assert "nodes" in properties["refine_budget"]["description"]
        assert "RefineOptions" in json.dumps(properties["refine"])
    assert "stop_reason" in schemas["Refinement"]["properties"]


def test_the_key_scheme_is_documented_where_a_key_is_required() -> None:
    key = {"name": "team-a", "sha256": sha256_of("secret")}
    for document, needed in (
        (DOCUMENT, [{"bearer": []}, {}]),
        (create_app(Settings(keys=[key]), scripted_pair()).openapi(), [{"bearer": []}]),  # type: ignore[list-item]
    ):
        scheme = document["components"]["securitySchemes"]["bearer"]
        assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
        for path, _, operation in operations(document):
            assert operation.get("security") == (None if path in OPEN_PATHS else needed), path
