"""Fields, headers and paths that are not for clients to set, and names that are almost right."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.attack.outcome import Outcome, none_of
from tests.attack.server import Setup, running_server
from tests.attack.target import Target

_OPERATORS: Final[dict[str, Any]] = {
    "kv_transfer_params": {"do_remote_prefill": True, "remote_host": "10.0.0.1"},
    "priority": -100,
    "chat_template": "{{ messages }}",
    "request_id": "someone-elses",
    "vllm_xargs": {"a": 1},
    "mm_processor_kwargs": {"a": 1},
    "lora_request": "x",
    "api_base": "http://10.0.0.1",
    "extra_headers": {"a": "b"},
    "data_parallel_rank": 1,
}
_TYPOS: Final = ("refine_buget", "refine_budgets", "refinebudget", "Refine_Budget", "refne", "refines", "refine-budget")


async def operators_fields(target: Target) -> list[Outcome]:
    forwarded = []
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/refine"):
        for field, value in _OPERATORS.items():
            text = await target.play()
            asked = {
                "/v1/completions": {"prompt": text},
                "/v1/embeddings": {"input": text},
                "/v1/responses": {"input": text},
                "/v1/refine": {"messages": [{"role": "user", "content": text}], "response": "x"},
            }.get(path, {"messages": [{"role": "user", "content": text}]})
            await target.post(path, {"model": "pair", **asked, field: value})
            if field in (await target.seen(text))["fields"]:
                forwarded.append(f"{field} by {path}")
    return [none_of("operators' fields that went upstream", forwarded)]


async def misspelt_fields(target: Target) -> list[Outcome]:
    taken = []
    for field in _TYPOS:
        value: Any = {"votes": 3} if "bud" not in field.lower() and "bug" not in field else 4
        reply = await target.chat("Hi", **{field: value})
        if reply.status != 400 or b"refine" not in reply.body:
            taken.append(f"{field}: {reply.status}")
    return [none_of("misspelt fields of ours that were taken", taken)]


async def clients_headers(target: Target) -> list[Outcome]:
    """No header of a client reaches the upstream, and a request id is replaced unless it is harmless."""
    text = await target.play()
    sent = {"X-Forwarded-For": "1.2.3.4", "Cookie": "a=b", "X-Evil": "1", "Openai-Organization": "x", "Host": "evil"}
    body = {"model": "pair", "messages": [{"role": "user", "content": text}]}
    await target.post("/v1/chat/completions", body, **sent)
    seen = await target.seen(text)
    forwarded = [name for name in sent if name.lower() in seen["headers"] and name != "Host"]
    echoed = []
    for value in ("a b", "a;b", "\u00e9", "x" * 500, "<script>", '"'):
        reply = await target.get("/health", **{"X-Request-Id": value})
        if value in reply.headers.get("x-request-id", ""):
            echoed.append(value)
    return [
        none_of("clients' headers that went upstream", forwarded),
        none_of("odd request ids that were echoed", echoed),
    ]


async def forged_log_lines(target: Target) -> list[Outcome]:
    """What clients write does not begin a line of the log, nor carry a terminal's commands into it."""
    mark = "ERROR-forged-line"
    for path in (f"/%0a{mark}", f"/v1/models/%0d%0a{mark}", f"/v1/models/x%1b[31m{mark}"):
        await target.get(path, key="mallory")
    await target.post("/v1/chat/completions", {"model": f"x\n{mark}", "messages": []})
    text = await target.play(manner="500", actor=f"\n{mark}\x1b[31m")
    await target.chat(text)
    lines = target.server.log.read_bytes().split(b"\n")
    forged = [repr(line[:100]) for line in lines if line.startswith(mark.encode()) or b"\x1b" in line]
    return [none_of("lines of the log that a client wrote", forged)]


async def browsers(target: Target) -> list[Outcome]:
    """Web pages of other origins: by CORS, by scripts from elsewhere, and by a name that leads here."""
    found = []
    preflight = await target.request(
        "OPTIONS", "/v1/chat/completions", None, key=None, within_s=10,
        headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"},
    )  # fmt: skip
    if "access-control-allow-origin" in {name.lower() for name in preflight.headers}:
        found.append("CORS is open by default")
    page = (await target.get("/docs")).body.decode()
    if 'src="http' in page or 'href="http' in page or "cdn." in page:
        found.append("/docs loads scripts from elsewhere")
    if (await target.get("/")).status not in (302, 303, 307, 308, 200):
        found.append("GET / leads nowhere")
    if await _answers_any_host(target.upstream):
        found.append("a keyless server answers any Host")
    return [none_of("ways in for a web page", found)]


async def _answers_any_host(upstream: str) -> bool:
    body = {"model": "pair", "messages": [{"role": "user", "content": "Hi"}]}
    with tempfile.TemporaryDirectory() as folder:
        async with (
            running_server(Path(folder), f"{upstream}/v1", Setup(keyed=False)) as server,
            aiohttp.ClientSession(server.url, headers={"Host": "evil.example"}) as client,
            client.post("/v1/chat/completions", json=body) as response,
        ):
            return response.status == 200


async def without_a_key(target: Target) -> list[Outcome]:
    """Every path but those that operators ask needs a key."""
    answered = []
    for path in (
        "/v1/models", "/v1/models/pair", "//v1/models", "/v1//models", "/v1/models/", "/V1/models",
        "/health/../v1/models", "/docs/../v1/models", "/v1/models?x=/health", "/health;/v1/models",
        "/v1/models#", "/traces", "/%76%31/models",
    ):  # fmt: skip
        for headers in (
            {},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer  "},
            {"Authorization": "Basic eDp5"},
        ):
            reply = await target.get(path, **headers)
            if reply.status == 200 and b'"owned_by"' in reply.body:
                answered.append(path)
    for path in (
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/judge",
        "/v1/refine",
        "/v1/completions",
        "/v1/embeddings",
    ):
        for variant in (path, f"/{path}", f"{path}/", path.upper()):
            reply = await target.post(variant, {"model": "pair", "messages": [], "input": "x", "prompt": "x"}, key=None)
            if reply.status not in (401, 404, 307):
                answered.append(f"{variant}: {reply.status}")
    return [none_of("answers without a key", answered)]


ATTACKS: Final = (operators_fields, misspelt_fields, clients_headers, forged_log_lines, browsers, without_a_key)
