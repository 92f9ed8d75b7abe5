"""A pair by URL: an actor and a refiner of any OpenAI-compatible servers.

What a run must know of them is asked before it begins, so that a wrong address or name costs no work: whether each
server answers and has the model, whether it counts tokens, and whether it is this project's own server. That one
refines by itself unless it is told not to, and would be measured refining its refined answers.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from spar_core.errors import BackendError, BackendRejected, BackendUnavailable, ConfigError
from spar_core.types import Message
from spar_training.evals.asking import Subject
from spar_training.scaling.stage import Pair
from spar_training.scaling.told import Told

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
        lineage = {"actor": await actor.about(), "refiner": await refiner.about()}
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
        async with self.actor.opened() as actor, self.refiner.opened() as refiner:
            drafts = Told(actor, self.actor.sampling)
            # An actor that refines its own answers is one pool: its servers' limit is one.
            refines = drafts if self.refiner == self.actor else Told(refiner, self.refiner.sampling)
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
    async with subject.opened() as backend:
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
