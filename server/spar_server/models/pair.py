"""The models that a server answers with: an actor and a refiner, which also judges."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Any, Final

from spar_core.backends.base import Backend, is_ready
from spar_core.backends.openai import OpenAIBackend, Timeouts
from spar_core.backends.pool import PoolBackend, PoolObserver, RetryPolicy, SilentObserver
from spar_core.errors import ConfigError
from spar_core.model_folder import PairFolder, lineage_of, load_folder, shipped_pair
from spar_core.prompts import Templates, load_templates
from spar_core.types import Sampling
from spar_server.models.vllm import VllmModels
from spar_server.settings import Served, Settings, Upstream, VllmModel

_MODELS: Final = shipped_pair()
# 256 tokens: the small pair's longest judgement and answer, with room to spare.
_SHIPPED: Final = PairFolder(
    _MODELS / "actor", _MODELS / "refiner", "spar-small", "compact",
    answer_tokens=256, judge_tokens=256, refine_tokens=256,
)  # fmt: skip
_NO_MODEL_HERE: Final = (
    "vllm: engine arguments are set, and no model that vLLM runs here; set --actor-vllm, or remove them"
)


@dataclass(frozen=True, slots=True)
class Pair:
    """`name` is what clients call it. `actor_sampling` holds where a request says nothing.

    `lineage` is that of each role's model, where it is a folder's.
    """

    name: str
    actor: Backend
    refiner: Backend
    templates: Templates
    actor_sampling: Sampling
    judge_sampling: Sampling
    refine_sampling: Sampling
    lineage: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    async def ready(self) -> bool:
        """Whether there can be answers: the actor takes calls. Without the refiner they are drafts, and degraded."""
        return await is_ready(self.actor)

    async def ready_roles(self) -> Mapping[str, bool]:
        """Whether each role's model takes calls."""
        actor, refiner = await asyncio.gather(is_ready(self.actor), is_ready(self.refiner))
        return {"actor": actor, "refiner": refiner}

    async def aclose(self) -> None:
        await self.actor.aclose()
        await self.refiner.aclose()


def _unobserved(role: str) -> PoolObserver:
    return SilentObserver()


def build_pair(settings: Settings, observer_of: Callable[[str], PoolObserver] = _unobserved) -> Pair:
    """The pair that the settings describe; `observer_of` a role watches its upstreams.

    Raises:
        ConfigError: a model is wanted in this process and cannot be run here, or the template set is wrong.
    """
    if settings.pair and settings.actor:
        raise ConfigError("pair: not beside an actor; set the one or the other")
    return _described(settings, settings.actor, observer_of) if settings.actor else _embedded(settings)


def _described(settings: Settings, actor: Served, observer_of: Callable[[str], PoolObserver]) -> Pair:
    # Before any model is loaded.
    templates = load_templates(settings.templates or "default", key=token_bytes(32))
    here = [model for model in (actor, settings.refiner) if isinstance(model, VllmModel)]
    if settings.vllm and not here:
        raise ConfigError(_NO_MODEL_HERE)
    engines = VllmModels(here, arguments=settings.vllm, log_level=settings.log_level)

    def backend(model: Served, role: str) -> Backend:
        return engines.backend(model) if isinstance(model, VllmModel) else _pool(model, observer_of(role))

    drafts = backend(actor, "actor")
    # An actor that refines its own answers is one pool: its limits are its servers', whatever they are asked for.
    refines = backend(settings.refiner, "refiner") if settings.refiner else drafts
    return Pair(
        name=settings.model or drafts.model,
        actor=drafts,
        refiner=refines,
        templates=templates,
        actor_sampling=Sampling(temperature=None, top_p=None),
        judge_sampling=Sampling(temperature=0.7, max_tokens=settings.refine.judge_max_tokens or 2048),
        refine_sampling=Sampling(temperature=0.7, max_tokens=settings.refine.refine_max_tokens or 3072),
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


def _embedded(settings: Settings) -> Pair:
    if settings.refiner:
        raise ConfigError("a refiner is set without an actor; set --actor-url or --actor-vllm too, or neither")
    if settings.vllm:
        raise ConfigError(_NO_MODEL_HERE)
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("transformers") is None:
        raise ConfigError(
            "the embedded pair needs torch and transformers: pip install 'spar-server[embedded]', "
            "or front a server of yours with --actor-url and --actor-model"
        )
    # Before torch, which takes seconds to import.
    models = load_folder(settings.pair) if settings.pair else _SHIPPED
    import torch
    from transformers.utils.logging import disable_progress_bar

    from spar_core.backends.local import LocalBackend, LocalEngine

    if settings.device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device: {settings.device} is asked for and torch finds no CUDA device; use cpu or auto")
    disable_progress_bar()
    name = settings.model or models.name
    # Before any model is loaded.
    templates = load_templates(settings.templates or models.templates, key=token_bytes(32))
    actor = LocalEngine(models.actor, device=settings.device)
    # Weights and batch are shared where one model is both.
    one = models.refiner == models.actor
    refiner = actor if one else LocalEngine(models.refiner, device=settings.device)
    # Read once too: to digest weights is to read all of them.
    lineage = lineage_of(models.actor)
    return Pair(
        name=name,
        actor=LocalBackend(actor, f"{name}-actor"),
        refiner=LocalBackend(refiner, f"{name}-refiner"),
        templates=templates,
        actor_sampling=Sampling(temperature=0.9, top_p=0.9, max_tokens=models.answer_tokens),
        judge_sampling=Sampling(temperature=0.7, max_tokens=settings.refine.judge_max_tokens or models.judge_tokens),
        refine_sampling=Sampling(temperature=0.7, max_tokens=settings.refine.refine_max_tokens or models.refine_tokens),
        lineage={"actor": lineage, "refiner": lineage if one else lineage_of(models.refiner)},
    )
