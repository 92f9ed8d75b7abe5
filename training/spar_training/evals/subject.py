"""Ask the model that is measured, item by item: bounded, resumable, nothing lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp

from spar_core.backends.base import Backend
from spar_core.errors import BackendRejected, ConfigError
from spar_core.seeds import derive_seed
from spar_core.types import Message, Sampling
from spar_training.inference.client import check_urls, open_backend
from spar_training.pipeline.progress import item_progress
from spar_training.pipeline.runner import I, ItemFailed, Policy, Work, failed_file, run_items
from spar_training.reports.result import of_folder
from spar_training.storage.files import Row, read_rows

# A server that says nothing of itself must not hold up a run.
_ABOUT_S: Final = 3.0
# Statuses by which a server refuses one request, not all of them.
REFUSED: Final = frozenset({400, 413, 422})


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model under measurement, and how it is asked.

    `model` is a name at the `urls`, or a folder. `sampling.extra` goes into each request's body (`refine_budget`, ...).
    """

    model: str
    urls: tuple[str, ...] = ()
    sampling: Sampling
    seed: int = 0
    in_flight: int = 16

    def __post_init__(self) -> None:
        if self.sampling.extra and not self.urls:
            raise ConfigError("--refine-budget and --extra-body are for a server: give its --url")
        check_urls(self.urls)

    def opened(self) -> AbstractAsyncContextManager[Backend]:
        return open_backend(self.model, urls=self.urls, in_flight=self.in_flight)

    def config(self) -> dict[str, Any]:
        """What its answers depend on."""
        sampling = {name: value for name, value in asdict(self.sampling).items() if value not in (None, (), {})}
        return {"model": self.model, "urls": list(self.urls), "sampling": sampling, "seed": self.seed}

    async def about(self) -> dict[str, Any]:
        """Its lineage, as far as it can be told: a folder's files, or what its server says at /version."""
        if not self.urls:
            return of_folder(Path(self.model))
        return {"model": self.model, "urls": list(self.urls), "server": await _version(self.urls[0])}


@dataclass(frozen=True, slots=True)
class Question:
    """One item of a benchmark: the conversation to answer."""

    id: str
    messages: tuple[Message, ...]

    @staticmethod
    def of(id: str, prompt: str) -> Question:
        return Question(id, (Message("user", prompt),))


async def ask(questions: Sequence[Question], backend: Backend, subject: Subject, *, out: Path, label: str) -> list[Row]:
    """The answers, as rows {id, response, finish_reason, completion_tokens}; those missing got none, see `run_asked`.

    Raises:
        BackendError: the model does not answer; what is finished is kept.
    """

    async def answer(question: Question) -> dict[str, Any]:
        seed = derive_seed(subject.seed, question.id)
        completion = await backend.complete(question.messages, replace(subject.sampling, seed=seed))
        return {
            "response": completion.text,
            "finish_reason": completion.finish_reason,
            "completion_tokens": completion.usage.completion_tokens,
        }

    return await run_asked(questions, answer, out=out, in_flight=subject.in_flight, label=label)


async def run_asked(items: Sequence[I], work: Work[I], *, out: Path, in_flight: int, label: str) -> list[Row]:
    """`run_items` with progress shown; a request that is refused as such, too long for one, sets its item aside.

    Raises:
        BackendRejected: all items were refused, so it is the configuration that is wrong.
        BackendUnavailable: item after item failed; what is finished is kept.
    """

    async def tried(item: I) -> dict[str, Any]:
        try:
            return await work(item)
        except BackendRejected as error:
            if error.status not in REFUSED:
                raise
            raise ItemFailed(f"refused: {error}") from error

    with item_progress(label) as tell:
        rows = await run_items(items, tried, out=out, policy=Policy(in_flight=in_flight), on_progress=tell)
    if items and not rows:
        raise BackendRejected(f"all {len(items)} items failed, the first because: {_forgotten(out)}")
    return rows


def _forgotten(out: Path) -> str:
    """The first failure's reason. Nothing of the failures is left: with another configuration they are asked again."""
    first = next(read_rows(failed_file(out)))
    for file in (out, failed_file(out)):
        file.unlink()
    return str(first["failed"])


def by_id(rows: Sequence[Row]) -> Mapping[str, Row]:
    return {row["id"]: row for row in rows}


async def _version(url: str) -> Any:
    """What a server says of itself; None when it says nothing."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ABOUT_S)) as session,
            session.get(f"{url.rstrip('/').removesuffix('/v1')}/version") as response,
        ):
            return await response.json() if response.status == 200 else None
    except (TimeoutError, aiohttp.ClientError, ValueError):
        return None
