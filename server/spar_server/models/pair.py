"""The pair of models that a server runs: an actor, and a refiner that also judges."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from secrets import token_bytes
from typing import Any, Final

from spar_core.backends.base import Backend, is_ready
from spar_core.backends.in_process.backend import InProcessBackend
from spar_core.backends.in_process.opening import require_engine
from spar_core.backends.openai import OpenAIBackend, Timeouts
from spar_core.backends.pool import PoolBackend, PoolObserver, RetryPolicy, SilentObserver
from spar_core.backends.registry import open_backend
from spar_core.checklist import Extractor, ModelExtractor, RuleExtractor
from spar_core.cost import Price
from spar_core.errors import ConfigError
from spar_core.judge import JudgeName
from spar_core.model_folder import DEFAULT_PAIR, PairFolder, RoleModel, lineage_of, load_folder, named_folder
from spar_core.prompts import Templates, load_templates
from spar_core.types import ModelRole, Sampling
from spar_server.models.in_process import open_roles
from spar_server.models.vllm import VllmModels
from spar_server.settings import (
    ExtractorName,
    ModelPrice,
    PluginModel,
    ServedActor,
    ServedModel,
    Settings,
    Upstream,
    VllmModel,
)

_NO_MODEL_HERE: Final = (
    "vllm: engine arguments are set, but vLLM runs no model in this process; set --actor-vllm, or remove them"
)


@dataclass(frozen=True, slots=True)
class ServedPair:
    """`name` is the model name for clients. `actor_sampling` has the defaults of requests.

    `lineage` has each role's model if the pair is a folder's, else it is empty.
    `judge` is the default kind of judge, and `algorithm` the default search unless the settings name one; `extractors`
    make the checklists of the other kind of judge. `prices` has each role's price, if the settings know it.
    """

    name: str
    actor: Backend
    refiner: Backend
    templates: Templates
    actor_sampling: Sampling
    judge_sampling: Sampling
    refine_sampling: Sampling
    lineage: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    # The refiner where it votes, if its votes are observed apart.
    judging: Backend | None = None
    judge: JudgeName = "holistic"
    algorithm: str = "bfs"
    extractors: Sequence[Extractor] = (RuleExtractor(),)
    prices: Mapping[ModelRole, Price] = field(default_factory=dict)

    def unpriced(self) -> str | None:
        """The name of a model without a price, or None."""
        models = {"actor": self.actor.model, "refiner": self.refiner.model}
        return next((model for role, model in models.items() if role not in self.prices), None)

    async def ready(self) -> bool:
        """Whether the actor takes calls. Without the refiner, answers are degraded to drafts."""
        return await is_ready(self.actor)

    async def ready_roles(self) -> Mapping[str, bool]:
        """Whether each role's model takes calls."""
        actor, refiner = await asyncio.gather(is_ready(self.actor), is_ready(self.refiner))
        return {"actor": actor, "refiner": refiner}

    async def aclose(self, *, but: ServedPair | None = None) -> None:
        """Close the models, except those that another pair shares."""
        for backend in (self.actor, self.refiner):
            if but is None or (backend is not but.actor and backend is not but.refiner):
                await backend.aclose()


def _unobserved(role: str) -> PoolObserver:
    return SilentObserver()


@dataclass(frozen=True, slots=True)
class OpenPair:
    """A pair and the settings that it was built from; a pair built from other settings takes over what they share."""

    settings: Settings
    pair: ServedPair

    def actor(self, settings: Settings) -> Backend | None:
        return self.pair.actor if settings.actor == self.settings.actor else None

    def refiner(self, settings: Settings) -> Backend | None:
        """Unless the actor refines its own answers in either of them."""
        return self.pair.refiner if settings.refiner and settings.refiner == self.settings.refiner else None


def check_pair(settings: Settings) -> None:
    """Look whether the pair and the templates can be served here, without loading a model.

    A base of the catalogue may be missing: the server downloads it.

    Raises:
        ConfigError: the pair's folder, its base or the template set is wrong, or nothing here can run the pair.
    """
    if settings.actor:
        if settings.pair:
            raise ConfigError("pair: cannot be combined with an actor; set one of them")
        templates = "default"
    else:
        if settings.refiner:
            raise ConfigError("a refiner is set without an actor; set --actor-url or --actor-vllm too, or neither")
        if settings.vllm:
            raise ConfigError(_NO_MODEL_HERE)
        require_engine()
        templates = load_folder(named_folder(settings.pair or DEFAULT_PAIR), with_base=False).templates
    load_templates(settings.templates or templates)


def build_pair(
    settings: Settings,
    observer_of: Callable[[str], PoolObserver] = _unobserved,
    *,
    earlier: OpenPair | None = None,
) -> ServedPair:
    """Build the pair that the settings describe; `observer_of(role)` observes the role's upstreams.

    It shares with an `earlier` pair the models that both settings describe alike. Models in this process have to be
    among them.

    Raises:
        ConfigError: a model cannot be run in this process, or the template set is invalid.
    """
    # First, because loading models takes long.
    check_pair(settings)
    if settings.actor:
        pair = _from_models(settings, settings.actor, observer_of, earlier)
    else:
        pair = _from_folder(settings, earlier)
    return replace(pair, prices=_prices(settings.prices, pair)) if settings.prices else pair


def _prices(prices: Mapping[str, ModelPrice], pair: ServedPair) -> Mapping[ModelRole, Price]:
    models: Mapping[ModelRole, str] = {
        "actor": pair.actor.model,
        "refiner": pair.refiner.model,
        "judge": pair.refiner.model,
    }
    for name in prices:
        if name not in models.values():
            known = dict.fromkeys(models.values())
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"prices.{name}: this server has no such model; {hint}")
    return {role: Price(**prices[model].model_dump()) for role, model in models.items() if model in prices}


def _from_models(
    settings: Settings, actor: ServedActor, observer_of: Callable[[str], PoolObserver], earlier: OpenPair | None
) -> ServedPair:
    templates = load_templates(settings.templates or "default", key=token_bytes(32))
    open_actor, open_refiner = (earlier.actor(settings), earlier.refiner(settings)) if earlier else (None, None)
    here = [
        model
        for model, is_open in ((actor, open_actor), (settings.refiner, open_refiner))
        if isinstance(model, VllmModel) and is_open is None
    ]
    if settings.vllm and not here and earlier is None:
        raise ConfigError(_NO_MODEL_HERE)
    engines = VllmModels(here, arguments=settings.vllm, log_level=settings.log_level)

    def backend(model: ServedModel, role: str) -> Backend:
        match model:
            case VllmModel():
                return engines.backend(model)
            case PluginModel():
                return open_backend(model.backend, model.options)
            case Upstream():
                return _pool(model, observer_of(role))

    drafts = open_actor or backend(actor, "actor")
    # An actor that refines its own answers shares one pool, since its servers have one limit.
    refines = open_refiner or (backend(settings.refiner, "refiner") if settings.refiner else drafts)
    judge_tokens = settings.refine.judge_max_tokens or 2048
    return ServedPair(
        name=settings.model or drafts.model,
        actor=drafts,
        refiner=refines,
        templates=templates,
        actor_sampling=Sampling(temperature=None, top_p=None),
        judge_sampling=Sampling(temperature=0.7, max_tokens=judge_tokens),
        refine_sampling=Sampling(temperature=0.7, max_tokens=settings.refine.refine_max_tokens or 3072),
        judge=settings.refine.judge or "holistic",
        extractors=_extractors(settings.refine.extractors or ("rules", "model"), refines, templates, judge_tokens),
    )


def _pool(upstream: Upstream, observer: PoolObserver) -> PoolBackend:
    key = upstream.api_key.get_secret_value() if upstream.api_key else None
    timeouts = Timeouts(**upstream.timeouts.model_dump())
    return PoolBackend(
        [OpenAIBackend(base_url=url, model=upstream.model, api_key=key, timeouts=timeouts) for url in upstream.url],
        max_concurrency=upstream.max_concurrency,
        retry=RetryPolicy(retries=upstream.retries),
        observer=observer,
    )


def _from_folder(settings: Settings, earlier: OpenPair | None) -> ServedPair:
    models = load_folder(named_folder(settings.pair or DEFAULT_PAIR))
    name = settings.model or models.name
    templates = load_templates(settings.templates or models.templates, key=token_bytes(32))
    actor, refines, lineage = _opened(earlier.pair) if earlier else _open_folder(settings, models, name)
    judge_tokens = settings.refine.judge_max_tokens or models.judge_tokens
    return ServedPair(
        name=name,
        actor=actor,
        refiner=refines,
        templates=templates,
        actor_sampling=Sampling(
            temperature=models.temperature,
            top_p=0.9,
            max_tokens=models.answer_tokens,
            extra={"frequency_penalty": models.frequency_penalty} if models.frequency_penalty else {},
        ),
        judge_sampling=Sampling(temperature=0.7, max_tokens=judge_tokens),
        refine_sampling=Sampling(temperature=0.7, max_tokens=settings.refine.refine_max_tokens or models.refine_tokens),
        judge=settings.refine.judge or models.judge,
        algorithm=models.algorithm,
        # Models that run here by default are too small to write a checklist.
        extractors=_extractors(settings.refine.extractors or ("rules",), refines, templates, judge_tokens),
        lineage=lineage,
    )


_Opened = tuple[Backend, Backend, Mapping[str, Mapping[str, Any]]]


def _opened(pair: ServedPair) -> _Opened:
    return pair.actor, pair.refiner, pair.lineage


def _open_folder(settings: Settings, models: PairFolder, name: str) -> _Opened:
    engines = open_roles(models, device=settings.device, cache_mib=settings.cache_mib)
    # Computed once, because hashing reads all weights.
    lineage = _lineage(models.actor)
    return (
        InProcessBackend(engines.actor, f"{name}-actor"),
        InProcessBackend(engines.refiner, f"{name}-refiner"),
        {"actor": lineage, "refiner": lineage if models.refiner == models.actor else _lineage(models.refiner)},
    )


def _extractors(
    names: Sequence[ExtractorName], refiner: Backend, templates: Templates, max_tokens: int
) -> tuple[Extractor, ...]:
    sampling = Sampling(temperature=0.0, max_tokens=max_tokens, seed=0)
    made: Mapping[ExtractorName, Extractor] = {
        "rules": RuleExtractor(),
        "model": ModelExtractor(backend=refiner, templates=templates, sampling=sampling),
    }
    return tuple(made[name] for name in names)


def _lineage(role: RoleModel) -> Mapping[str, Any]:
    """The lineage of the adapter, or of the model if there is none."""
    return lineage_of(role.adapter or role.model)
