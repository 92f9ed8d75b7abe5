"""Query the model under measurement item by item, with bounded concurrency, so that a run can be resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import aiohttp

from spar_core.backends.base import Backend
from spar_core.backends.openai.redact import with_upstreams_words
from spar_core.errors import BackendRejected, ConfigError
from spar_core.seeds import derive_seed
from spar_core.types import Message, Sampling
from spar_training.inference.client import check_urls, open_backend
from spar_training.pipeline.progress import item_progress
from spar_training.pipeline.runner import I, ItemFailed, Policy, Work, failed_file, run_items
from spar_training.reports.result import model_lineage
from spar_training.storage.files import Row, read_rows

# A server that does not report its version must not delay a run.
_VERSION_TIMEOUT_S: Final = 3.0
# A measured server decides how long an answer may take: SPaR's own gives a search 280 s unless it is set otherwise.
_ANSWER_S: Final = 1800.0
# Statuses with which a server refuses a single request rather than all of them.
REFUSAL_STATUSES: Final = frozenset({400, 413, 422})


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model under measurement and how to query it.

    `model` is a name at the `urls`, or without URLs a folder. `sampling.extra` is added to the body of each request
    (`refine_budget`, ...).
    """

    model: str
    urls: tuple[str, ...] = ()
    sampling: Sampling
    seed: int = 0
    in_flight: int = 16

    def __post_init__(self) -> None:
        if self.sampling.extra and not self.urls:
            raise ConfigError("--refine-budget and --extra-body need a server: give its --url")
        check_urls(self.urls)

    def open(self) -> AbstractAsyncContextManager[Backend]:
        return open_backend(self.model, urls=self.urls, in_flight=self.in_flight, answer_s=_ANSWER_S)

    def config(self) -> dict[str, Any]:
        """Return the settings that its answers depend on."""
        sampling = {name: value for name, value in asdict(self.sampling).items() if value not in (None, (), {})}
        return {"model": self.model, "urls": list(self.urls), "sampling": sampling, "seed": self.seed}

    async def lineage(self) -> dict[str, Any]:
        """Return the model's lineage as far as it is known: from its folder, or from its server's /version."""
        if not self.urls:
            return model_lineage(Path(self.model))
        return {"model": self.model, "urls": list(self.urls), "server": await _version(self.urls[0])}


@dataclass(frozen=True, slots=True)
class Question:
    """An item of a benchmark: the conversation to answer, and its own `refine` options, added to the subject's."""

    id: str
    messages: tuple[Message, ...]
    refine: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(id: str, prompt: str, **refine: Any) -> Question:
        return Question(id, (Message("user", prompt),), refine)

    def sampling(self, of: Sampling) -> Sampling:
        """The subject's sampling with the item's own options."""
        if not self.refine:
            return of
        return replace(of, extra={**of.extra, "refine": {**of.extra.get("refine", {}), **self.refine}})


async def ask(questions: Sequence[Question], backend: Backend, subject: Subject, *, out: Path, label: str) -> list[Row]:
    """Return the answers as rows {id, response, finish_reason, completion_tokens}.

    Refused questions are missing, see `run_requests`.

    Raises:
        BackendError: the model does not answer; finished answers are saved.
    """

    async def answer(question: Question) -> dict[str, Any]:
        seed = derive_seed(subject.seed, question.id)
        completion = await backend.complete(question.messages, replace(question.sampling(subject.sampling), seed=seed))
        return {
            "response": completion.text,
            "finish_reason": completion.finish_reason,
            "completion_tokens": completion.usage.completion_tokens,
        }

    return await run_requests(questions, answer, out=out, in_flight=subject.in_flight, label=label)


async def run_requests(items: Sequence[I], work: Work[I], *, out: Path, in_flight: int, label: str) -> list[Row]:
    """Call `run_items` and show progress; an item whose request is refused, e.g. as too long, is set aside.

    Raises:
        BackendRejected: all items were refused, so the configuration must be wrong.
        BackendUnavailable: item after item failed; finished items are saved.
    """

    async def attempt(item: I) -> dict[str, Any]:
        try:
            return await work(item)
        except BackendRejected as error:
            if error.status not in REFUSAL_STATUSES:
                raise
            raise ItemFailed(f"refused: {with_upstreams_words(error)}") from error

    with item_progress(label) as on_progress:
        rows = await run_items(items, attempt, out=out, policy=Policy(in_flight=in_flight), on_progress=on_progress)
    if items and not rows:
        raise BackendRejected(f"all {len(items)} items failed, the first because: {_discard_failures(out)}")
    return rows


def _discard_failures(out: Path) -> str:
    """Delete all failures, so that another configuration can retry them; return the reason of the first."""
    first = next(read_rows(failed_file(out)))
    for file in (out, failed_file(out)):
        file.unlink()
    return str(first["failed"])


def by_id(rows: Sequence[Row]) -> Mapping[str, Row]:
    return {row["id"]: row for row in rows}


async def _version(url: str) -> Any:
    """Return what the server reports at /version; None if it reports nothing."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_VERSION_TIMEOUT_S)) as session,
            session.get(f"{url.rstrip('/').removesuffix('/v1')}/version") as response,
        ):
            return await response.json() if response.status == 200 else None
    except (TimeoutError, aiohttp.ClientError, ValueError):
        return None
