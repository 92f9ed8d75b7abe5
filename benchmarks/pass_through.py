"""Overhead of the gateway on passed-through requests, compared with a bare proxy, LiteLLM's proxy and OptiLLM (`none`).

The upstream answers at once; every server is one process. The first run installs the peers from PyPI, each into its own
environment (`.venv-bench/NAME`); `--peers` selects some of them. Rounds alternate between the servers, so that other
load on the machine affects all of them. Ratios are medians over rounds; those of the best rounds, which other load
disturbs least, are printed too.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from peers.environment import installed

HERE = Path(__file__).parent
ROUNDS, ALONE, TOGETHER, AT_ONCE = 5, 150, 600, 32
START_S = 180.0
PEERS = ("litellm", "optillm")


@dataclass(frozen=True)
class Figures:
    """A round: median and minimum seconds of a single request, and requests per second with AT_ONCE concurrent ones."""

    alone_s: float
    least_s: float
    rate: float


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[str]
    log: Path


def body(*, stream: bool) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "Say it. " * 20}], "stream": stream}


async def ask(client: aiohttp.ClientSession, url: str, *, stream: bool) -> float:
    """Seconds from sending a request to its last byte."""
    began = time.perf_counter()
    async with client.post(f"{url}/chat/completions", json=body(stream=stream)) as response:
        answer = await response.read()
    seconds = time.perf_counter() - began
    if response.status != 200 or b"word" not in answer:
        raise RuntimeError(f"{url} answered {response.status}: {answer[:300]!r}")
    return seconds


async def measure(url: str, *, stream: bool, part: int) -> Figures:
    """One round with 1/`part` of the usual requests."""
    # OptiLLM refuses requests without a key, but accepts any.
    headers = {"Authorization": "Bearer none"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as client:
        alone = [await ask(client, url, stream=stream) for _ in range(ALONE // part)]
        numbers = iter(range(TOGETHER // part))

        async def work() -> None:
            for _ in numbers:
                await ask(client, url, stream=stream)

        began = time.perf_counter()
        await asyncio.gather(*[work() for _ in range(AT_ONCE)])
        return Figures(statistics.median(alone), min(alone), TOGETHER // part / (time.perf_counter() - began))


async def until_ready(url: str, server: Server) -> None:
    until = time.monotonic() + START_S
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer none"}) as client:
        while True:
            try:
                await ask(client, url, stream=False)
                return
            except (aiohttp.ClientError, RuntimeError) as error:
                if time.monotonic() > until or server.process.poll() is not None:
                    raise RuntimeError(f"{url} did not start: {server.log.read_text()[-2000:]}") from error
                await asyncio.sleep(0.5)


@contextmanager
def running(*command: str | Path, log: Path, **environment: str) -> Iterator[Server]:
    """A process that logs to a file and ends with the context."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE if log.stem == "direct" else errors,
            stderr=errors,
            text=True,
            env=os.environ | environment,
            cwd=log.parent,
        )
    try:
        yield Server(process, log)
    finally:
        process.kill()
        process.wait()


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return str(listening.getsockname()[1])


def serve(name: str, upstream: str, port: str, folder: Path) -> tuple[list[str | Path], dict[str, str]]:
    """The command, and its environment, that serves `name` on `port`."""
    if name == "ours":
        return [sys.executable, "-m", "spar_server.cli", "serve", "--port", port, "--actor-url", upstream,
                "--actor-model", "m"], {}  # fmt: skip
    if name == "bare":
        return [sys.executable, HERE / "peers" / "bare_proxy.py", upstream, port], {}
    if name == "litellm":
        config = folder / "litellm.yaml"
        config.write_text(
            "model_list: [{model_name: m, litellm_params: {model: openai/m, api_key: none, api_base: "
            f'"{upstream}"}}}}]\n'
        )
        local = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
        return [installed(name) / "litellm", "--config", config, "--host", "127.0.0.1", "--port", port], local
    command = [
        installed(name) / "optillm",
        "--approach",
        "none",
        "--base-url",
        upstream,
        "--port",
        port,
        "--log",
        "error",
    ]
    return command, {"OPENAI_API_KEY": "none"}


async def compare(names: list[str], urls: dict[str, str], servers: dict[str, Server]) -> None:
    await asyncio.gather(*[until_ready(urls[name], servers[name]) for name in urls])
    for stream in (False, True):
        rounds: list[dict[str, Figures]] = []
        for number in range(ROUNDS + 1):
            # The slower peers need fewer requests.
            figures = {
                name: await measure(urls[name], stream=stream, part=5 if name in PEERS else 1)
                for name in ["direct", *names]
            }
            # The first round is a warm-up.
            rounds += [figures] if number else []
        print(f"\n{'streams of 24 tokens' if stream else 'whole answers'}, one process each:")
        for name in names:
            print(row(name, rounds))
        judge(rounds, [name for name in names if name in PEERS])


def added(figures: dict[str, Figures], name: str) -> float:
    return figures[name].alone_s - figures["direct"].alone_s


def least_added(rounds: list[dict[str, Figures]], name: str) -> float:
    """The minimum over all single requests, on which other load had the least effect."""
    return min(each[name].least_s for each in rounds) - min(each["direct"].least_s for each in rounds)


@dataclass(frozen=True)
class Ratios:
    """Ratios to the bare proxy: latencies by median and by minimum, rates by median and by the best round."""

    slower: float
    slower_least: float
    share: float
    share_best: float


def ratios(rounds: list[dict[str, Figures]], name: str) -> Ratios:
    return Ratios(
        slower=statistics.median(added(each, name) / added(each, "bare") for each in rounds),
        slower_least=least_added(rounds, name) / least_added(rounds, "bare"),
        share=statistics.median(each[name].rate / each["bare"].rate for each in rounds),
        share_best=max(each[name].rate for each in rounds) / max(each["bare"].rate for each in rounds),
    )


def row(name: str, rounds: list[dict[str, Figures]]) -> str:
    added_ms = 1000 * statistics.median(added(each, name) for each in rounds)
    rate = statistics.median(each[name].rate for each in rounds)
    against = ratios(rounds, name)
    return (
        f"{name:8} adds {added_ms:6.2f} ms, least {1000 * least_added(rounds, name):6.2f} "
        f"({against.slower:5.2f}x bare, least {against.slower_least:5.2f}x)  "
        f"{rate:6,.0f} requests/s ({against.share:4.2f}x bare, best {against.share_best:4.2f}x)"
    )


def judge(rounds: list[dict[str, Figures]], peers: list[str]) -> None:
    ours = ratios(rounds, "ours")
    met = ours.slower <= 1.3 and ours.share >= 0.75
    print(f"bar: at most 1.3x the bare proxy's latency, at least 0.75x its rate: {'met' if met else 'MISSED'}")
    for peer in peers:
        its = ratios(rounds, peer)
        ahead = ours.slower < its.slower and ours.share > its.share
        print(f"bar: ahead of {peer}: {'met' if ahead else 'MISSED'}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    names = ["bare", "ours", *parser.parse_args().peers]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        mock = HERE / "peers" / "mock_upstream.py"
        servers = {"direct": stack.enter_context(running(sys.executable, mock, log=folder / "direct.log"))}
        output = servers["direct"].process.stdout
        assert output is not None
        urls = {"direct": f"http://127.0.0.1:{output.readline().strip()}/v1"}
        for name in names:
            port = free_port()
            command, environment = serve(name, urls["direct"], port, folder)
            servers[name] = stack.enter_context(running(*command, log=folder / f"{name}.log", **environment))
            urls[name] = f"http://127.0.0.1:{port}/v1"
        asyncio.run(compare(names, urls, servers))


if __name__ == "__main__":
    main()
