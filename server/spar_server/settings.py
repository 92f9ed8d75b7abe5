"""The server's settings: defaults, then a TOML file, then `SPAR_...` variables, then command-line flags.

Nested keys are written `[actor] url = ...` in TOML and `SPAR_ACTOR__URL` in the environment.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from spar_core.backends.openai import Timeouts
from spar_core.backends.registry import BACKENDS
from spar_core.budget import LEAST_TOKENS
from spar_core.errors import ConfigError
from spar_core.judge import JudgeName
from spar_core.search.config import Selection, StopPolicy
from spar_core.validation import AlgorithmName, nearest_key


def _split(value: Any) -> Any:
    """Split a string at commas and spaces; leave a list as it is."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


class AdmissionSettings(BaseModel):
    """Limits on concurrent work. Searches and passed-through requests have separate lanes, so neither delays the other.

    A request costs as much as the model calls that it can make. With several API keys, `key_share` is the largest
    fraction of a lane, and of an upstream's concurrent calls, that one key can use.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    search_capacity: int = Field(default=6144, ge=1, description="maximum total cost of running searches")
    pass_through_capacity: int = Field(default=512, ge=1, description="maximum total cost of other running requests")
    max_queue: int = Field(default=1024, ge=0, description="maximum number of waiting requests per lane")
    # A load balancer drops a silent connection after 60 s, and nothing is sent while a request waits.
    max_wait_s: float = Field(default=30.0, ge=0, le=55)
    key_share: float = Field(default=0.5, gt=0, le=1, description="largest fraction for one of several keys")


class BrownoutSettings(BaseModel):
    """Lower refinement budgets under load, step by step.

    `above` and `below` are loads: the cost of all running and waiting searches divided by `search_capacity`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = False
    above: float = Field(default=1.5, gt=0)
    below: float = Field(default=0.75, ge=0)
    step_s: float = Field(default=5.0, gt=0)

    @model_validator(mode="after")
    def _check_order(self) -> BrownoutSettings:
        if self.below >= self.above:
            raise ValueError("below must be less than above, or the level would never settle")
        return self


class Limits(BaseModel):
    """Limits on one request. Bodies contain images and audio, so they can be much larger than texts.

    `max_calls` limits the model calls that a request can cause, whichever of its fields ask for them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_body_bytes: int = Field(default=32 * 2**20, ge=1024)
    max_bodies_bytes: int = Field(
        default=256 * 2**20, ge=1024, description="all bodies over 64 KiB of requests under way; others wait unread"
    )
    max_messages: int = Field(default=4096, ge=1, description="also limits the content parts of all messages together")
    max_judged_text: int = Field(
        default=4_000_000, ge=1000, description="characters of a judged conversation with its answer"
    )
    max_response: int = Field(default=1_000_000, ge=1000, description="characters of an answer to judge or refine")
    max_body_values: int = Field(
        default=600_000, ge=1000, description="values in a body; a list, object or key counts as 5"
    )
    max_n: int = Field(default=128, ge=1, description="answers per request")
    max_votes: int = Field(default=25, ge=1, description="votes per answer")
    max_prompts: int = Field(default=128, ge=1, description="prompts per completions request")
    max_inputs: int = Field(default=2048, ge=1, description="texts per embeddings request")
    # So that 128 answers with the largest default budget and votes fit, even if an engine is asked for each verdict.
    max_calls: int = Field(default=2304, ge=1, description="model calls per request")


class ConnectionLimits(BaseModel):
    """Limits on connections and request heads, which apply before the API key is known. Times are in seconds.

    Behind a reverse proxy all connections have the proxy's address, so raise `max_per_address` to `max_connections`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_connections: int = Field(default=4096, ge=1)
    max_per_address: int = Field(default=512, ge=1, description="connections per IPv4 address or IPv6 /64 network")
    max_head_bytes: int = Field(default=64 * 2**10, ge=1024, description="request line and headers together")
    max_header_fields: int = Field(default=200, ge=1)
    max_pipelined: int = Field(default=8, ge=0, description="requests queued behind an unanswered one on a connection")
    head_s: float = Field(default=10.0, gt=0, description="maximum time to send a request's head")
    body_s: float = Field(default=20.0, gt=0, description="maximum pause within a request's body")
    idle_s: float = Field(default=20.0, gt=0, description="maximum idle time between two requests")
    send_s: float = Field(default=20.0, gt=0, description="maximum time in which a client reads nothing")


class MetricsSettings(BaseModel):
    """Where /metrics is served and who can read it. By default on the server's own port, without a key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int | None = Field(default=None, ge=1, le=65535, description="separate port that serves only /metrics")
    host: str | None = Field(default=None, description="address of that port; defaults to the server's host")
    key_sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="SHA-256 of the key for /metrics; see `spar keys new`"
    )


def _read_share(value: Any) -> Any:
    if not isinstance(value, str) or re.fullmatch(r"\d+(?:\.\d+)?|\.\d+", value):
        return value
    if value not in ("on", "off"):
        raise ValueError("must be on, off, or a share of the searches such as 0.1")
    return float(value == "on")


# The share of searches whose traces are stored.
TraceShare = Annotated[float, Field(ge=0, le=1), BeforeValidator(_read_share)]


class TraceSettings(BaseModel):
    """Which searches are stored, where, and for how long. By default none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    record: TraceShare = Field(default=0.0, description="on, off, or the share of searches to store, such as 0.1")
    path: Path = Field(default=Path("spar-traces.sqlite"), description="the SQLite database")
    url: SecretStr | None = Field(
        default=None, description="a PostgreSQL database instead, such as postgresql://spar@db/traces"
    )
    password_file: Path | None = Field(default=None, description="file with the password, for a URL without one")
    max_age_days: float = Field(default=30.0, gt=0, description="older traces are deleted")
    max_mib: int = Field(default=1024, ge=1, description="size of all traces; beyond it, the oldest are deleted")
    max_trace_kib: int = Field(default=4096, ge=1, description="size of one trace; a larger one is not stored")
    max_queue: int = Field(default=1024, ge=1, description="traces waiting to be written; further ones are dropped")
    max_queue_mib: int = Field(default=64, ge=1, description="size of those traces together")
    prompts: bool = Field(
        default=True, description="store what the judge and the refiner were sent; never if redact is set"
    )
    redact: str | None = Field(
        default=None, description="called with each trace before it is written: module:function, or an entry point"
    )


class BatchSettings(BaseModel):
    """`/v1/files` and `/v1/batches`, in the database of `traces.path` or `traces.url`. Each limit holds for one key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = False
    concurrency: int = Field(
        default=8, ge=1, description="requests of all batches that run at once, per worker; others have priority"
    )
    max_file_mib: int = Field(default=100, ge=1, le=2000, description="size of an uploaded file")
    max_key_mib: int = Field(default=1024, ge=1, description="size of a key's files together, at which it can upload")
    max_key_files: int = Field(default=1000, ge=1, description="files of a key, at which it can upload")
    max_lines: int = Field(default=50_000, ge=1, description="requests in a batch")
    max_unfinished: int = Field(default=20, ge=1, description="batches of a key that have not ended")
    max_age_days: float = Field(default=30.0, gt=0, description="older files and ended batches are deleted")

    @property
    def max_form_bytes(self) -> int:
        """The size of a body that has a file of the largest size."""
        return self.max_file_mib * 2**20 + 64 * 1024 if self.enabled else 1024

    @property
    def max_age_s(self) -> float:
        return self.max_age_days * 24 * 3600


Conventions = Literal["v0.1", "v1.41"]
Signal = Literal["traces", "metrics", "logs"]
Scores = Literal["events", "phoenix"]


class TelemetrySettings(BaseModel):
    """OpenTelemetry, sent by OTLP over HTTP. The variables OTEL_* apply too."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = False
    endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://[^/]",
        description="collector's URL; defaults to OTEL_EXPORTER_OTLP_ENDPOINT, else http://localhost:4318",
    )
    signals: Annotated[tuple[Signal, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=("traces", "metrics", "logs"), min_length=1, description="what the collector takes"
    )
    conventions: Conventions = Field(
        default="v0.1", description="names of OpenTelemetry's conventions for generative AI; v1.41 are the older ones"
    )
    content: bool = Field(default=False, description="send prompts, answers and critiques too")
    scores: Scores = Field(
        default="events",
        description="verdicts as log events, or by Phoenix's own API, which takes no logs",
    )


class ApiKey(BaseModel):
    """An API key and its limits. A limit that is not set is the server's own, which applies to every key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[\w.-]{1,64}$", description="shown in logs and metrics")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the key, in hexadecimal")
    refine_budget: int | None = Field(default=None, ge=0, description="budget of requests that set none")
    max_refine_budget: int | None = Field(default=None, ge=0)
    requests_per_minute: int | None = Field(default=None, ge=1)
    concurrent_searches: int | None = Field(
        default=None, ge=1, description="running and waiting requests of more than one model call"
    )
    concurrent_calls: int | None = Field(
        default=None, ge=1, description="concurrent model calls per role; further calls wait"
    )
    max_n: int | None = Field(default=None, ge=1, description="answers per request")
    max_votes: int | None = Field(default=None, ge=1, description="votes per answer")
    max_prompts: int | None = Field(default=None, ge=1, description="prompts per completions request")
    max_calls: int | None = Field(default=None, ge=1, description="model calls per request")
    max_cost: float | None = Field(default=None, gt=0, allow_inf_nan=False, description="cost per request, by prices")
    models: tuple[str, ...] | None = None
    traces: TraceShare | None = Field(default=None, description="as traces.record, for this key's searches")
    read_traces: Literal["own", "all"] = Field(default="own", description="whose traces the key can read")
    weight: float = Field(
        default=1.0, gt=0, le=1000, description="share of the capacity, relative to other keys, while requests wait"
    )

    def may_use(self, model: str) -> bool:
        return self.models is None or model in self.models


DEFAULT_FILE = Path("spar.toml")


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
_DEFAULT_TIMEOUTS = Timeouts()


class UpstreamTimeouts(BaseModel):
    """Timeouts in seconds, as documented in `spar_core.backends.openai.Timeouts`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connect: float = Field(default=_DEFAULT_TIMEOUTS.connect, gt=0)
    first_token: float = Field(default=_DEFAULT_TIMEOUTS.first_token, gt=0)
    between_tokens: float = Field(default=_DEFAULT_TIMEOUTS.between_tokens, gt=0)
    answer: float = Field(default=_DEFAULT_TIMEOUTS.answer, gt=0)
    total: float = Field(default=_DEFAULT_TIMEOUTS.total, gt=0)


class Upstream(BaseModel):
    """A model served by one or more OpenAI-compatible replicas. Each `url` usually ends in `/v1`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[tuple[Annotated[str, Field(pattern=r"^https?://[^/]")], ...], NoDecode] = Field(min_length=1)
    model: str = Field(min_length=1)
    api_key: SecretStr | None = None
    max_concurrency: int = Field(default=256, ge=1)
    retries: int = Field(default=2, ge=0, le=10)
    timeouts: UpstreamTimeouts = UpstreamTimeouts()

    @field_validator("url", mode="before")
    @classmethod
    def _split_urls(cls, value: Any) -> Any:
        return _split(value)

    @field_validator("url")
    @classmethod
    def _check_unique(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len({url.rstrip("/") for url in value}) < len(value):
            raise ValueError("lists a server twice; list each once")
        return value


class ActorUpstream(Upstream):
    """An actor that other servers run. Only actors receive the client's `reasoning_effort`."""

    reasons: bool = Field(default=False, description="the actor is a reasoning model: forward reasoning_effort to it")


class VllmModel(BaseModel):
    """A model that vLLM runs in this process, with or without a LoRA adapter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vllm: str = Field(min_length=1, description="a folder or a Hugging Face model name")
    adapter: str | None = Field(default=None, min_length=1, description="folder of a LoRA adapter")


class PluginModel(BaseModel):
    """One model behind a backend of the registry `spar_core.backends.registry`, which packages can add to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backend: str = Field(min_length=1, description="name of a registered backend")
    options: dict[str, Any] = Field(default={}, description="keyword arguments of the backend")

    @field_validator("backend")
    @classmethod
    def _registered(cls, value: str) -> str:
        if value not in BACKENDS:
            raise ValueError(BACKENDS.unknown(value))
        return value


def _kind(value: Any) -> str:
    """The kind of model, by the key that only it has."""
    if isinstance(value, Mapping):
        return next((key for key in ("vllm", "backend") if key in value), "url")
    return "vllm" if isinstance(value, VllmModel) else "backend" if isinstance(value, PluginModel) else "url"


ServedModel = Annotated[
    Annotated[Upstream, Tag("url")] | Annotated[VllmModel, Tag("vllm")] | Annotated[PluginModel, Tag("backend")],
    Discriminator(_kind),
]
ServedActor = Annotated[
    Annotated[ActorUpstream, Tag("url")] | Annotated[VllmModel, Tag("vllm")] | Annotated[PluginModel, Tag("backend")],
    Discriminator(_kind),
]


ExtractorName = Literal["rules", "model"]


class RefineDefaults(BaseModel):
    """Defaults for requests, and upper limits on what they can ask for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    refine_budget: int = Field(default=0, ge=0)
    max_refine_budget: int = Field(default=64, ge=0)
    effort_budgets: bool = Field(default=True, description="reasoning_effort sets the refinement budget")
    algorithm: AlgorithmName | None = Field(
        default=None, description="by default the pair's, which is bfs for models behind URLs"
    )
    branch: int = Field(default=3, ge=1, le=16)
    beam: int = Field(default=2, ge=1, le=16)
    max_depth: int | None = Field(
        default=None,
        ge=1,
        le=16,
        description="depth of a single tree; by default, new trees are started until the budget is spent",
    )
    votes: int = Field(default=5, ge=1, le=25)
    threshold: float = Field(default=0.5, ge=0, lt=1)
    stop: StopPolicy = "first"
    deadline_s: float = Field(default=280.0, gt=0)
    judge: JudgeName | None = Field(
        default=None,
        description="holistic or checklist; by default the pair's, which is holistic for models behind URLs",
    )
    extractors: tuple[ExtractorName, ...] | None = Field(
        default=None,
        description="what makes a checklist, in order: rules, model; by default both, and rules alone in process",
    )
    judge_max_tokens: int | None = Field(default=None, ge=1)
    constrained_verdict: Literal["auto", "off"] = Field(
        default="auto",
        description="auto: ask judgements without a verdict for it, if the refiner's engine can constrain answers",
    )
    refine_max_tokens: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        if self.refine_budget > self.max_refine_budget:
            raise ValueError(
                f"refine_budget is {self.refine_budget}, over max_refine_budget, which is {self.max_refine_budget}; "
                "lower one or raise the other"
            )
        return self


class ModelPrice(BaseModel):
    """What a million tokens of a model cost, in whatever unit the operator reckons."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: float = Field(ge=0, allow_inf_nan=False)
    completion: float = Field(ge=0, allow_inf_nan=False)
    cached: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="cached tokens of a prompt; by default as prompt"
    )


class ModelAlias(BaseModel):
    """A model name that stands for the pair with these defaults: compute as a model name.

    Apart from the first three, the keys are those of `refine` in a request, and apply where the request has none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(default="", description="shown by /v1/models")
    refine_budget: int | None = Field(default=None, ge=0, description="budget of requests that name none")
    locked: bool = Field(default=False, description="refuse requests that set what this table sets")
    algorithm: AlgorithmName | None = None
    branch: int | None = Field(default=None, ge=1, le=16)
    beam: int | None = Field(default=None, ge=1, le=16)
    max_depth: int | None = Field(default=None, ge=1, le=16)
    votes: int | None = Field(default=None, ge=1, le=25)
    threshold: float | None = Field(default=None, ge=0, lt=1)
    stop: StopPolicy | None = None
    select: Selection | None = None
    early_vote_stop: bool | None = None
    max_search_tokens: int | None = Field(default=None, ge=LEAST_TOKENS)
    max_cost: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    deadline_s: float | None = Field(default=None, gt=0)
    judge: JudgeName | None = None

    def options(self) -> dict[str, Any]:
        """The keys of `refine` that are set."""
        return self.model_dump(exclude={"description", "refine_budget", "locked"}, exclude_none=True)


class Settings(BaseSettings):
    """All settings of `spar serve`. Without `actor` it serves the embedded pair."""

    model_config = SettingsConfigDict(env_prefix="SPAR_", env_nested_delimiter="__", extra="forbid", frozen=True)
    _file: ClassVar[Path | None] = None

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=64, description="processes that serve, for a gateway to other servers")
    model: str | None = Field(default=None, description="model name that clients use for the pair")
    models: dict[str, ModelAlias] = Field(default={}, description="further model names, each with its own defaults")
    pair: Path | None = Field(
        default=None, description="folder with actor/ and refiner/; or spar-135m, the default, or tiny"
    )
    cache_mib: int = Field(
        default=512,
        ge=1,
        description="maximum memory in MiB for the KV cache of models in this process, allocated as needed",
    )
    actor: ServedActor | None = None
    refiner: ServedModel | None = None
    vllm: dict[str, Any] = Field(default={}, description="vLLM engine arguments for models in this process")
    templates: str | None = None
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")
    refine: RefineDefaults = RefineDefaults()
    prices: dict[str, ModelPrice] = Field(
        default={}, description="prices by the name of the model, as its server knows it"
    )
    auth: Literal["on", "off"] = Field(
        default="on", description="off: serve anyone who can reach the server, without keys"
    )
    keys: tuple[ApiKey, ...] = ()
    keys_file: Path | None = None
    client_fields: tuple[str, ...] = Field(
        default=(), description="additional request fields that clients can send upstream"
    )
    limits: Limits = Limits()
    connections: ConnectionLimits = ConnectionLimits()
    metrics: MetricsSettings = MetricsSettings()
    traces: TraceSettings = TraceSettings()
    batches: BatchSettings = BatchSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    allowed_hosts: Words = Field(
        default=(), description="additional host names for a server without keys on a loopback address"
    )
    cors_origins: Words = Field(default=(), description="origins of web pages that can call this server; * for all")
    admission: AdmissionSettings = AdmissionSettings()
    brownout: BrownoutSettings = BrownoutSettings()
    log_level: str = Field(default="warning", pattern="^(critical|error|warning|info|debug)$")
    log_format: Literal["console", "json"] = "console"
    playground: bool = Field(default=True, description="serve the playground, a page for browsers, at /ui")
    access_log: bool = Field(default=True, description="log one line per request, whatever the log level")
    shutdown_grace_s: float = Field(default=30.0, ge=0)
    shutdown_delay_s: float = Field(
        default=0.0, ge=0, description="minimum time that the port stays open after a stop signal"
    )

    @property
    def forwards_effort(self) -> bool:
        """Whether `reasoning_effort` goes to the actor: it reasons, or the effort does not set the budget."""
        return not self.refine.effort_budgets or (isinstance(self.actor, ActorUpstream) and self.actor.reasons)

    @field_validator("allowed_hosts")
    @classmethod
    def _check_host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"[\w.-]+", name):
                raise ValueError(
                    f"{name!r} is not a host name; write it without scheme and port, such as spar.example.com"
                )
        return value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#\s]+", origin):
                raise ValueError(
                    f"{origin!r} is not an origin; write scheme and host, such as https://chat.example.com"
                )
        return value

    @model_validator(mode="after")
    def _check_aliases(self) -> Self:
        for name, alias in self.models.items():
            for field, value, limit in (
                ("refine_budget", alias.refine_budget, self.refine.max_refine_budget),
                ("votes", alias.votes, self.limits.max_votes),
                ("deadline_s", alias.deadline_s, self.refine.deadline_s),
            ):
                if value is not None and value > limit:
                    raise ValueError(f"models.{name}.{field} is {value:g}, over this server's limit of {limit:g}")
        return self

    @model_validator(mode="after")
    def _check_ports(self) -> Self:
        if self.metrics.port is not None and self.metrics.port == self.port:
            raise ValueError("metrics.port is the server's own port; choose another")
        return self

    @field_validator("vllm", mode="before")
    @classmethod
    def _decode_variables(cls, value: Any) -> Any:
        """Environment variables are strings; vLLM needs numbers and booleans."""
        if not isinstance(value, Mapping):
            return value
        return {name: _decoded(one) if isinstance(one, str) else one for name, one in value.items()}

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        """Flags take precedence over the environment, and that over the file."""
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=cls._file))


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def load_settings(flags: Mapping[str, Any], file: Path | None = None) -> Settings:
    """Load the settings from all sources. `file` defaults to ./spar.toml if it exists.

    Raises:
        ConfigError: the file is missing or not valid TOML, or a key or value is wrong; names each and its fix.
    """
    if file is not None and not file.is_file():
        raise ConfigError(f"--config {file}: no such file")
    found = file or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    _refuse_unknown_variables()
    sourced = type("Settings", (Settings,), {"_file": found, "__module__": __name__})
    try:
        settings: Settings = sourced(**flags)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(item) for item in error.errors())) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{found}: not valid TOML: {error}") from error
    except SettingsError as error:
        raise ConfigError(f"{error}; write JSON, or one variable per key such as SPAR_ACTOR__URL") from error
    return settings


def _explain(item: Any) -> str:
    if not item["loc"]:
        # About several keys, which it names; their values could be secrets.
        return str(item["msg"]).removeprefix("Value error, ")
    of_role = item["loc"][0] in ("actor", "refiner")
    # The part after the role is the discriminator's tag, not a key that the user wrote.
    loc = (item["loc"][0], *item["loc"][2:]) if of_role else item["loc"]
    key = ".".join(map(str, loc))
    if item["type"] == "extra_forbidden":
        if of_role and item["loc"][1] == "vllm" and loc[-1] in ActorUpstream.model_fields:
            return f"{key}: not allowed with {loc[0]}.vllm; set only one of them"
        if not of_role and (near := nearest_key(loc, Settings)):
            return f"{key}: there is no such setting; did you mean {near}?"
        return f"{key}: there is no such setting; remove it, or see `spar serve --help` and docs/serving.md"
    if item["type"] == "missing":
        flag = f"give --{key.replace('.', '-')}, or " if of_role else ""
        return f"{key}: is needed; {flag}set it in the file or as SPAR_{key.upper().replace('.', '__')}"
    return f"{key}: {item['msg']} (got {item['input']!r})"


# Variables for others: SPAR_CACHE is the folder of downloaded models, SPAR_URL and SPAR_API_KEY are the client's server
# and key, and SPAR_DATA, the folder of public data sets, belongs to the tests.
_NOT_SETTINGS: Final = {"SPAR_CACHE", "SPAR_URL", "SPAR_API_KEY", "SPAR_DATA"}


def _refuse_unknown_variables() -> None:
    """Raise ConfigError for a mistyped variable, which would otherwise be ignored."""
    known = {f"SPAR_{name.upper()}" for name in Settings.model_fields}
    for variable in os.environ:
        if variable.startswith("SPAR_") and variable.split("__")[0] not in known | _NOT_SETTINGS:
            raise ConfigError(f"{variable}: there is no such setting; known: {', '.join(sorted(known))}")
