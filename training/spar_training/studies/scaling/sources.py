"""The sources of the pair to measure: a folder with embedded models, or models at URLs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import aiohttp

from spar_core.backends.wrappers.defaults import DefaultsBackend
from spar_core.cpu import usable_cores
from spar_core.errors import BackendError, BackendRejected, BackendUnavailable, ConfigError
from spar_core.model_folder import TINY_PAIR, named_folder
from spar_core.types import Message
from spar_training.evals.subject import Subject
from spar_training.reports.result import model_lineage
from spar_training.studies.scaling.grid import PairBackends


class Source(Protocol):
    """A pair that can be opened, once for many searches and once for timing."""

    @property
    def name(self) -> str:
        """The pair's name in reports."""
        ...

    @property
    def identities(self) -> list[str]:
        """Digests of everything that the actor's and the refiner's completions depend on, except the call itself."""
        ...

    @property
    def config(self) -> Mapping[str, Any]:
        """Further entries for the result's configuration."""
        ...

    @property
    def lineage(self) -> Mapping[str, Mapping[str, Any]]:
        """Each role's model, as far as it is known."""
        ...

    def open(self, *, searches: int | None) -> AbstractAsyncContextManager[PairBackends]:
        """Open the pair for this many concurrent searches, or with None as the server does."""
        ...


_SLOTS: Final = 384


@dataclass(frozen=True)
class FolderSource:
    """A source with embedded models: a pair's folder, or the name of a shipped pair; None is the tiny pair."""

    pair: Path | None

    @property
    def folder(self) -> Path:
        return named_folder(self.pair or TINY_PAIR)

    @property
    def name(self) -> str:
        return str(self.pair or "the shipped pair")

    @cached_property
    def identities(self) -> list[str]:
        return [weights_digest(self.folder / role) for role in ("actor", "refiner")]

    @property
    def config(self) -> Mapping[str, Any]:
        return {}

    @property
    def lineage(self) -> Mapping[str, Mapping[str, Any]]:
        return {
            role: {**model_lineage(self.folder / role), "weights": weights}
            for role, weights in zip(("actor", "refiner"), self.identities, strict=True)
        }

    @asynccontextmanager
    async def open(self, *, searches: int | None) -> AsyncIterator[PairBackends]:
        from transformers import AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        from spar_core.backends.local import LocalBackend, LocalEngine

        disable_progress_bar()
        options: dict[str, Any] = (
            {"max_slots": min(_SLOTS, 4 * searches), "threads": usable_cores()} if searches is not None else {}
        )
        tokenizer = AutoTokenizer.from_pretrained(self.folder / "refiner")
        actor = LocalBackend(LocalEngine(self.folder / "actor", **options), "actor")
        refiner = LocalBackend(LocalEngine(self.folder / "refiner", **options), "refiner")
        try:
            yield PairBackends(
                actor=actor,
                refiner=refiner,
                actor_identity=self.identities[0],
                refiner_identity=self.identities[1],
                # Including the end-of-text token.
                count=lambda text: len(tokenizer.encode(text)) + 1,
            )
        finally:
            await actor.aclose()
            await refiner.aclose()


def weights_digest(folder: Path) -> str:
    """Return a digest of a model's weights, tokenizer and chat template, which determine its completions.

    Raises:
        ConfigError: there is no model in the folder.
    """
    shards = sorted([*folder.glob("*.safetensors"), *folder.glob("tokenizer.json"), *folder.glob("*.jinja")])
    if not any(shard.suffix == ".safetensors" for shard in shards):
        raise ConfigError(f"{folder}: no model here; --pair takes a folder with actor/ and refiner/")
    digest = hashlib.sha256()
    for shard in shards:
        with shard.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


_MODELS_TIMEOUT_S: Final = 10.0
_OWN_SERVER: Final = "spar-server"


@dataclass(frozen=True, kw_only=True)
class UrlModels:
    """The models' names and URLs. Each model's `sampling.max_tokens` and `sampling.extra` apply to all its calls."""

    actor: Subject
    refiner: Subject

    def __post_init__(self) -> None:
        for url in (*self.actor.urls, *self.refiner.urls):
            parts = urlsplit(url)
            if parts.username or parts.password or parts.query:
                raise ConfigError(
                    "--url: must not contain a key or a query, which would appear in the result; set the key as "
                    "OPENAI_API_KEY"
                )

    async def connect(self) -> UrlSource:
        """Check that the models answer.

        Raises:
            BackendUnavailable: a server cannot be reached.
            BackendRejected: a server rejects the key.
            ConfigError: a server does not have the model, or does not report usage.
        """
        actor = await _connect(self.actor)
        refiner = actor if self.refiner == self.actor else await _connect(self.refiner)
        lineage = {"actor": await actor.lineage(), "refiner": await refiner.lineage()}
        return UrlSource(actor, refiner, lineage)


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A source with models at URLs, which have been found to answer."""

    actor: Subject
    refiner: Subject
    lineage: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        return f"actor {_describe(self.actor)}, refiner {_describe(self.refiner)}"

    @property
    def identities(self) -> list[str]:
        # The model behind a URL may change unnoticed; only its server's version shows it.
        parts = [
            {**self.lineage[role], "max_tokens": subject.sampling.max_tokens, "extra": dict(subject.sampling.extra)}
            for role, subject in (("actor", self.actor), ("refiner", self.refiner))
        ]
        return [hashlib.sha256(json.dumps(one, sort_keys=True).encode()).hexdigest()[:16] for one in parts]

    @property
    def config(self) -> Mapping[str, Any]:
        return {"actor": _config(self.actor), "refiner": _config(self.refiner)}

    @asynccontextmanager
    async def open(self, *, searches: int | None) -> AsyncIterator[PairBackends]:
        async with self.actor.open() as actor, self.refiner.open() as refiner:
            drafts = DefaultsBackend(actor, self.actor.sampling)
            # An actor that refines its own answers shares one pool, since its servers have one limit.
            refinements = drafts if self.refiner == self.actor else DefaultsBackend(refiner, self.refiner.sampling)
            identities = self.identities
            yield PairBackends(
                actor=drafts,
                refiner=refinements,
                actor_identity=identities[0],
                refiner_identity=identities[1],
                count=_uncounted,
            )


def _uncounted(text: str) -> int:
    raise ConfigError("--oracles: needs a folder, whose tokenizer counts the oracles' tokens; drop the option")


def _describe(subject: Subject) -> str:
    return f"{subject.model} at {', '.join(subject.urls)}"


def _config(subject: Subject) -> dict[str, Any]:
    return {
        "model": subject.model,
        "urls": list(subject.urls),
        "max_tokens": subject.sampling.max_tokens,
        "extra": dict(subject.sampling.extra),
        "in_flight": subject.in_flight,
    }


async def _connect(subject: Subject) -> Subject:
    """Check that the model answers; return the subject, with refinement turned off on servers of this project.

    Raises:
        BackendUnavailable: a server cannot be reached.
        BackendRejected: a server refuses the call.
        ConfigError: a server does not have the model, or does not report usage.
    """
    owners = [await _owner(url, subject.model) for url in subject.urls]
    if _OWN_SERVER in owners:
        subject = replace(
            subject, sampling=replace(subject.sampling, extra={**subject.sampling.extra, "refine_budget": 0})
        )
    label = _describe(subject)
    sampling = replace(subject.sampling, temperature=0.0, max_tokens=1)
    async with subject.open() as backend:
        try:
            completion = await backend.complete((Message("user", "Hi"),), sampling)
        except BackendRejected as error:
            raise BackendRejected(f"{label}: refused ({error})", status=error.status, param=error.param) from error
        except BackendError as error:
            raise BackendUnavailable(f"{label}: {error}", status=error.status) from error
    if not completion.usage.completion_tokens:
        raise ConfigError(f"{label}: its answers have no usage, which the bench needs to count tokens")
    return subject


async def _owner(url: str, model: str) -> str | None:
    """Return the model's owner according to the server; None if it does not list models.

    Raises:
        BackendUnavailable: the server cannot be reached.
        ConfigError: the server lists only other models.
    """
    key = os.environ.get("OPENAI_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_MODELS_TIMEOUT_S), headers=headers) as session,
            session.get(f"{url.rstrip('/')}/models") as response,
        ):
            body = await response.read()
            listed = json.loads(body) if response.status == 200 else None
    except (TimeoutError, aiohttp.ClientError) as error:
        raise BackendUnavailable(f"--url {url}: cannot be reached ({type(error).__name__}); is it running?") from error
    except ValueError:
        listed = None
    data = listed.get("data") if isinstance(listed, dict) else None
    models = {
        one["id"]: one.get("owned_by") for one in data or [] if isinstance(one, dict) and isinstance(one.get("id"), str)
    }
    if models and model not in models:
        raise ConfigError(f"--url {url}: has no model {model}; it has {', '.join(models)}")
    return models.get(model)
