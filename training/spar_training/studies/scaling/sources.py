"""Where the pair that is benched comes from: a folder, or URLs."""

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
from spar_core.model_folder import shipped_pair
from spar_core.types import Message
from spar_training.evals.subject import Subject
from spar_training.reports.result import model_lineage
from spar_training.studies.scaling.grid import Pair


class Source(Protocol):
    """A pair that can be opened, once for many searches and once to be timed."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def identities(self) -> list[str]:
        """What the actor's and the refiner's completions are a function of, besides the call: names for the store."""
        ...

    @property
    def config(self) -> Mapping[str, Any]:
        """What the result's configuration says of it, besides its name."""
        ...

    @property
    def lineage(self) -> Mapping[str, Mapping[str, Any]]:
        """Each role's model, as far as it can be told."""
        ...

    def opened(self, *, searches: int | None) -> AbstractAsyncContextManager[Pair]:
        """The pair: for so many searches at once, as wide as that is fast; with None, as a server has it."""
        ...


_SLOTS: Final = 384


@dataclass(frozen=True)
class Embedded:
    """`folder` has `actor/` and `refiner/`; None is the shipped pair."""

    pair: Path | None

    @property
    def folder(self) -> Path:
        return self.pair or shipped_pair()

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
    async def opened(self, *, searches: int | None) -> AsyncIterator[Pair]:
        from transformers import AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        from spar_core.backends.local import LocalBackend, LocalEngine

        disable_progress_bar()
        wide: dict[str, Any] = (
            {"max_slots": min(_SLOTS, 4 * searches), "threads": usable_cores()} if searches is not None else {}
        )
        tokenizer = AutoTokenizer.from_pretrained(self.folder / "refiner")
        actor = LocalBackend(LocalEngine(self.folder / "actor", **wide), "actor")
        refiner = LocalBackend(LocalEngine(self.folder / "refiner", **wide), "refiner")
        try:
            yield Pair(
                actor=actor,
                refiner=refiner,
                actor_identity=self.identities[0],
                refiner_identity=self.identities[1],
                # And the token that ends it.
                count=lambda text: len(tokenizer.encode(text)) + 1,
            )
        finally:
            await actor.aclose()
            await refiner.aclose()


def weights_digest(folder: Path) -> str:
    """A digest of a model's weights and tokenizer: what its completions are a function of.

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


_ANSWER_S: Final = 10.0
_OURS: Final = "spar-server"


@dataclass(frozen=True, kw_only=True)
class Served:
    """The models' names and URLs. `sampling.max_tokens` and `sampling.extra` of each hold for every call of it."""

    actor: Subject
    refiner: Subject

    def __post_init__(self) -> None:
        for url in (*self.actor.urls, *self.refiner.urls):
            parts = urlsplit(url)
            if parts.username or parts.password or parts.query:
                raise ConfigError(
                    "--url: takes no key and no query, which would stand in the result; a key is read "
                    "from OPENAI_API_KEY"
                )

    async def reached(self) -> ServedPair:
        """The pair, found ready.

        Raises:
            BackendUnavailable: a server cannot be reached.
            BackendRejected: it refuses the key.
            ConfigError: it does not have the model, or gives no usage.
        """
        actor = await _reached(self.actor)
        refiner = actor if self.refiner == self.actor else await _reached(self.refiner)
        lineage = {"actor": await actor.lineage(), "refiner": await refiner.lineage()}
        return ServedPair(actor, refiner, lineage)


@dataclass(frozen=True, slots=True)
class ServedPair:
    """A `Source`."""

    actor: Subject
    refiner: Subject
    lineage: Mapping[str, Mapping[str, Any]]

    @property
    def name(self) -> str:
        return f"actor {_named(self.actor)}, refiner {_named(self.refiner)}"

    @property
    def identities(self) -> list[str]:
        # What is behind a URL may change unseen; its server's version is all that tells.
        asked = [
            {**self.lineage[role], "max_tokens": subject.sampling.max_tokens, "extra": dict(subject.sampling.extra)}
            for role, subject in (("actor", self.actor), ("refiner", self.refiner))
        ]
        return [hashlib.sha256(json.dumps(one, sort_keys=True).encode()).hexdigest()[:16] for one in asked]

    @property
    def config(self) -> Mapping[str, Any]:
        return {"actor": _config(self.actor), "refiner": _config(self.refiner)}

    @asynccontextmanager
    async def opened(self, *, searches: int | None) -> AsyncIterator[Pair]:
        async with self.actor.open() as actor, self.refiner.open() as refiner:
            drafts = DefaultsBackend(actor, self.actor.sampling)
            # An actor that refines its own answers is one pool: its servers' limit is one.
            refines = drafts if self.refiner == self.actor else DefaultsBackend(refiner, self.refiner.sampling)
            identities = self.identities
            yield Pair(
                actor=drafts,
                refiner=refines,
                actor_identity=identities[0],
                refiner_identity=identities[1],
                count=_uncounted,
            )


def _uncounted(text: str) -> int:
    raise ConfigError("--oracles: the tokens of a perfect half are counted by the refiner's tokenizer, a folder's")


def _named(subject: Subject) -> str:
    return f"{subject.model} at {', '.join(subject.urls)}"


def _config(subject: Subject) -> dict[str, Any]:
    return {
        "model": subject.model,
        "urls": list(subject.urls),
        "max_tokens": subject.sampling.max_tokens,
        "extra": dict(subject.sampling.extra),
        "in_flight": subject.in_flight,
    }


async def _reached(subject: Subject) -> Subject:
    """The subject, told to leave refining to us where its server is this project's own."""
    owners = [await _owner(url, subject.model) for url in subject.urls]
    if _OURS in owners:
        subject = replace(
            subject, sampling=replace(subject.sampling, extra={**subject.sampling.extra, "refine_budget": 0})
        )
    what = _named(subject)
    sampling = replace(subject.sampling, temperature=0.0, max_tokens=1)
    async with subject.open() as backend:
        try:
            completion = await backend.complete((Message("user", "Hi"),), sampling)
        except BackendRejected as error:
            raise BackendRejected(f"{what}: refused ({error})", status=error.status, param=error.param) from error
        except BackendError as error:
            raise BackendUnavailable(f"{what}: {error}", status=error.status) from error
    if not completion.usage.completion_tokens:
        raise ConfigError(f"{what}: its answers carry no usage, by which the bench counts tokens")
    return subject


async def _owner(url: str, model: str) -> str | None:
    """Who the server says owns the model; None when it lists no models.

    Raises:
        BackendUnavailable: it cannot be reached.
        ConfigError: it lists other models only.
    """
    key = os.environ.get("OPENAI_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_S), headers=headers) as session,
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
