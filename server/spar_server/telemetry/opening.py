"""Open the telemetry that the settings describe."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import urlsplit

from spar_core.errors import ConfigError
from spar_core.types import ModelRole
from spar_server.models.pair import ServedPair
from spar_server.settings import ServedModel, Settings, TelemetrySettings, Upstream, VllmModel
from spar_server.telemetry import names
from spar_server.telemetry.records import Greeting, ModelInfo
from spar_server.telemetry.sender import Sender
from spar_server.telemetry.telemetry import Telemetry
from spar_server.telemetry.trace_context import Sampler

# How long sending what is left may take when the server stops.
FLUSH_S: Final = 4.0
# The providers of the conventions by the end of their host names; others speak OpenAI's protocol.
_PROVIDERS: Final = {
    ".openai.azure.com": "azure.ai.openai",
    "api.anthropic.com": "anthropic",
    "api.cohere.com": "cohere",
    "api.deepseek.com": "deepseek",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.moonshot.ai": "moonshot_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
}
_KINDS: Final[dict[ModelRole, str]] = {"actor": "generation", "refiner": "generation", "judge": "evaluator"}


def open_telemetry(settings: Settings, pair: ServedPair, on_drop: Callable[[int], None]) -> Telemetry:
    """The telemetry, which is yet to be started; `on_drop` counts the requests that could not be sent.

    Raises:
        ConfigError: the libraries that send it are not installed, or a variable OTEL_* is wrong.
    """
    _check_installed()
    telemetry = settings.telemetry
    sender = Sender(greeting(settings, pair), _environment(telemetry, os.environ), on_drop)
    return Telemetry(sender, Sampler.from_environment(os.environ), content=telemetry.content)


def greeting(settings: Settings, pair: ServedPair) -> Greeting:
    """What the process that sends is told first."""
    telemetry = settings.telemetry
    actor, refiner = settings.actor, settings.refiner or settings.actor
    models: dict[ModelRole, ModelInfo] = {
        "actor": _model("actor", actor, pair.actor.model),
        "refiner": _model("refiner", refiner, pair.refiner.model),
        "judge": _model("judge", refiner, pair.refiner.model),
    }
    return {
        "name": pair.name,
        "version": version("spar-server"),
        "conventions": telemetry.conventions,
        "signals": list(telemetry.signals),
        "scores": telemetry.scores,
        "flush_s": FLUSH_S,
        "log_level": settings.log_level,
        "log_format": settings.log_format,
        "models": models,
    }


def _model(role: ModelRole, served: ServedModel | None, model: str) -> ModelInfo:
    attributes: dict[str, Any] = {
        names.REQUEST_MODEL: model,
        names.PROVIDER: "vllm" if isinstance(served, VllmModel) else "spar",
        names.SPAR_ROLE: role,
        names.SPAN_KIND: "LLM",
        names.LANGFUSE_TYPE: _KINDS[role],
    }
    if isinstance(served, Upstream):
        hosts = [urlsplit(url) for url in served.url]
        attributes[names.PROVIDER] = _provider(hosts[0].hostname or "")
        # With several replicas it is not known which one a call goes to.
        if len(hosts) == 1:
            attributes[names.SERVER_ADDRESS] = hosts[0].hostname
            attributes[names.SERVER_PORT] = hosts[0].port or (443 if hosts[0].scheme == "https" else 80)
    return {"local": not isinstance(served, Upstream), "attributes": attributes}


def _provider(host: str) -> str:
    return next((name for end, name in _PROVIDERS.items() if host.endswith(end)), "openai")


def _check_installed() -> None:
    """Raise ConfigError if the libraries that send telemetry are missing."""
    for module in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        try:
            found = find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise ConfigError(f"telemetry.enabled: sending telemetry needs {module}: pip install 'spar-server[otel]'")


def _environment(settings: TelemetrySettings, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of the process that sends: OTEL_* apply, and the server's own, which hold secrets, are left out."""
    kept = {name: value for name, value in environment.items() if not name.startswith("SPAR_")}
    return kept if settings.endpoint is None else {**kept, "OTEL_EXPORTER_OTLP_ENDPOINT": settings.endpoint}
