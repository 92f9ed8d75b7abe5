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
from typing import Annotated, Any, ClassVar, Literal, Self

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
from spar_core.errors import ConfigError
from spar_core.search.config import StopPolicy
from spar_core.validation import AlgorithmName


class AdmissionSettings(BaseModel):
    """Searches and passed-through requests have a lane each, so that neither waits for the other.

    A request costs the model calls that it can make. Where there are several API keys, `key_share` is the part of each
    lane, and of each upstream's calls at once, that one of them may have.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    search_capacity: int = Field(default=6144, ge=1, description="cost of the searches that run at once")
    pass_through_capacity: int = Field(default=512, ge=1, description="cost of the other requests that run at once")
    max_queue: int = Field(default=1024, ge=0, description="requests that wait, in each lane")
    # A load balancer drops a silent connection after 60 s, and nothing is sent while a request waits.
    max_wait_s: float = Field(default=30.0, ge=0, le=55)
    key_share: float = Field(default=0.5, gt=0, le=1, description="the most that one key may have, where others are")


class BrownoutSettings(BaseModel):
    """`above` and `below` are loads: the cost of the searches that run and wait, as a part of `search_capacity`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = False
    above: float = Field(default=1.5, gt=0)
    below: float = Field(default=0.75, ge=0)
    step_s: float = Field(default=5.0, gt=0)

    @model_validator(mode="after")
    def _apart(self) -> BrownoutSettings:
        if self.below >= self.above:
            raise ValueError("below must be less than above, or the level would never rest")
        return self


class Limits(BaseModel):
    """Images and audio come inside the body, which is why it may be so much larger than a text.

    `max_calls` bounds what a request can make the models do, whichever of its fields ask for it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_body_bytes: int = Field(default=32 * 2**20, ge=1024)
    max_bodies_bytes: int = Field(
        default=256 * 2**20, ge=1024, description="all bodies over 64 KiB of requests under way; others wait unread"
    )
    max_messages: int = Field(default=4096, ge=1, description="and parts of all messages together")
    max_judged_text: int = Field(default=4_000_000, ge=1000, description="characters of a conversation and its answer")
    max_response: int = Field(default=1_000_000, ge=1000, description="characters of an answer to judge or refine")
    max_body_values: int = Field(default=600_000, ge=1000, description="numbers and texts; a list, object or key is 5")
    max_n: int = Field(default=128, ge=1, description="answers of one request")
    max_votes: int = Field(default=25, ge=1, description="judgements of one answer")
    max_prompts: int = Field(default=128, ge=1, description="of one completions request")
    max_inputs: int = Field(default=2048, ge=1, description="texts of one embeddings request")
    max_calls: int = Field(default=2048, ge=1, description="model calls that one request can make")


class ConnectionLimits(BaseModel):
    """Limits of connections and request heads; they hold before a key is known. Times are in seconds.

    Behind a reverse proxy all connections have the proxy's address: raise `max_per_address` to `max_connections`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_connections: int = Field(default=4096, ge=1)
    max_per_address: int = Field(default=512, ge=1, description="of one IPv4 address or IPv6 /64 network")
    max_head_bytes: int = Field(default=64 * 2**10, ge=1024, description="request line and headers together")
    max_header_fields: int = Field(default=200, ge=1)
    max_pipelined: int = Field(default=8, ge=0, description="requests that wait for the one before them to be answered")
    head_s: float = Field(default=10.0, gt=0, description="for a request's head, from the connection's start")
    body_s: float = Field(default=20.0, gt=0, description="of silence in a request's body")
    idle_s: float = Field(default=20.0, gt=0, description="between two requests")
    send_s: float = Field(default=20.0, gt=0, description="in which a client takes none of what it is sent")


class MetricsSettings(BaseModel):
    """Where /metrics is answered, and to whom. By default on the server's own port, to everyone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int | None = Field(default=None, ge=1, le=65535, description="a port of its own, which answers nothing else")
    host: str | None = Field(default=None, description="address of that port; the server's own by default")
    key_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$", description="hash of a key; `spar keys new`")


class ApiKey(BaseModel):
    """What is left out is not bounded by the key; the server's own bounds hold for everyone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[\w.-]{1,64}$", description="in the log and the metrics")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the key, in hexadecimal")
    refine_budget: int | None = Field(default=None, ge=0, description="of a request that names none")
    max_refine_budget: int | None = Field(default=None, ge=0)
    requests_per_minute: int | None = Field(default=None, ge=1)
    concurrent_searches: int | None = Field(
        default=None, ge=1, description="requests of more than one model call, running and waiting"
    )
    concurrent_calls: int | None = Field(default=None, ge=1, description="model calls at once of each role; more wait")
    max_n: int | None = Field(default=None, ge=1, description="answers of one request")
    max_votes: int | None = Field(default=None, ge=1, description="judgements of one answer")
    max_prompts: int | None = Field(default=None, ge=1, description="of one completions request")
    max_calls: int | None = Field(default=None, ge=1, description="model calls that one request can make")
    models: tuple[str, ...] | None = None
    weight: float = Field(default=1.0, gt=0, le=1000, description="of its turn where requests have to wait")

    def may_use(self, model: str) -> bool:
        return self.models is None or model in self.models


DEFAULT_FILE = Path("spar.toml")


def _split(value: Any) -> Any:
    """Several in one text with commas or blanks between them, or a list."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
_USUAL = Timeouts()


class UpstreamTimeouts(BaseModel):
    """Seconds; `spar_core.backends.openai.Timeouts` says what each bounds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connect: float = Field(default=_USUAL.connect, gt=0)
    first_token: float = Field(default=_USUAL.first_token, gt=0)
    between_tokens: float = Field(default=_USUAL.between_tokens, gt=0)
    answer: float = Field(default=_USUAL.answer, gt=0)
    total: float = Field(default=_USUAL.total, gt=0)


class Upstream(BaseModel):
    """One model on one or several OpenAI-compatible servers. Each `url` ends in `/v1` or the like."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[tuple[Annotated[str, Field(pattern=r"^https?://[^/]")], ...], NoDecode] = Field(min_length=1)
    model: str = Field(min_length=1)
    api_key: SecretStr | None = None
    max_concurrency: int = Field(default=256, ge=1)
    retries: int = Field(default=2, ge=0, le=10)
    reasons: bool = Field(default=False, description="of an actor: reasoning_effort is sent to it")
    timeouts: UpstreamTimeouts = UpstreamTimeouts()

    @field_validator("url", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        """One URL, several in one text with commas or blanks between them, or a list."""
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("url")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len({url.rstrip("/") for url in value}) < len(value):
            raise ValueError("names a server twice; name each once")
        return value


class VllmModel(BaseModel):
    """One model that vLLM runs in this process, with a LoRA adapter or as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vllm: str = Field(min_length=1, description="a folder, or a name at Hugging Face")
    adapter: str | None = Field(default=None, min_length=1, description="a folder")


class PluginModel(BaseModel):
    """One model behind a backend that an installed package adds by the entry point `spar.backends`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backend: str = Field(min_length=1, description="name of the entry point")
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


Served = Annotated[
    Annotated[Upstream, Tag("url")] | Annotated[VllmModel, Tag("vllm")] | Annotated[PluginModel, Tag("backend")],
    Discriminator(_kind),
]


class RefineDefaults(BaseModel):
    """What a request gets that does not say otherwise, and the most that it may ask for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    refine_budget: int = Field(default=0, ge=0)
    max_refine_budget: int = Field(default=64, ge=0)
    effort_budgets: bool = Field(default=True, description="reasoning_effort buys refinement")
    algorithm: AlgorithmName = "bfs"
    branch: int = Field(default=3, ge=1, le=16)
    beam: int = Field(default=2, ge=1, le=16)
    max_depth: int | None = Field(
        default=None, ge=1, le=16, description="one tree of this depth; none: trees until the budget ends"
    )
    votes: int = Field(default=5, ge=1, le=25)
    threshold: float = Field(default=0.5, ge=0, lt=1)
    stop: StopPolicy = "first"
    deadline_s: float = Field(default=280.0, gt=0)
    judge_max_tokens: int | None = Field(default=None, ge=1)
    refine_max_tokens: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _within_the_ceiling(self) -> Self:
        if self.refine_budget > self.max_refine_budget:
            raise ValueError(
                f"refine_budget is {self.refine_budget}, over max_refine_budget, which is {self.max_refine_budget}; "
                "lower the one or raise the other"
            )
        return self


class Settings(BaseSettings):
    """Everything that `spar serve` can be told. Without `actor` it serves the embedded pair."""

    model_config = SettingsConfigDict(env_prefix="SPAR_", env_nested_delimiter="__", extra="forbid", frozen=True)
    _file: ClassVar[Path | None] = None

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    model: str | None = Field(default=None, description="name under which the pair is served")
    pair: Path | None = Field(
        default=None, description="folder with actor/ and refiner/; or spar-135m, the default, or tiny"
    )
    cache_mib: int = Field(
        default=512, ge=1, description="most memory for keys and values of models in this process, taken as needed"
    )
    actor: Served | None = None
    refiner: Served | None = None
    vllm: dict[str, Any] = Field(default={}, description="engine arguments of models in this process")
    templates: str | None = None
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")
    refine: RefineDefaults = RefineDefaults()
    auth: Literal["on", "off"] = Field(default="on", description="off serves everyone who can reach the server")
    keys: tuple[ApiKey, ...] = ()
    keys_file: Path | None = None
    client_fields: tuple[str, ...] = Field(default=(), description="fields that clients may send upstream besides")
    limits: Limits = Limits()
    connections: ConnectionLimits = ConnectionLimits()
    metrics: MetricsSettings = MetricsSettings()
    allowed_hosts: Words = Field(default=(), description="more names for a server without keys on a loopback address")
    cors_origins: Words = Field(default=(), description="of web pages that may call this server; * for all")
    admission: AdmissionSettings = AdmissionSettings()
    brownout: BrownoutSettings = BrownoutSettings()
    log_level: str = Field(default="warning", pattern="^(critical|error|warning|info|debug)$")
    log_format: Literal["console", "json"] = "console"
    access_log: bool = Field(default=True, description="a line for each request, whatever the log's level")
    shutdown_grace_s: float = Field(default=30.0, ge=0)
    shutdown_delay_s: float = Field(default=0.0, ge=0, description="the port stays open for at least this long")

    @property
    def forwards_effort(self) -> bool:
        """Whether `reasoning_effort` goes to the actor: it reasons, or the effort stands for nothing else."""
        return not self.refine.effort_budgets or (isinstance(self.actor, Upstream) and self.actor.reasons)

    @field_validator("allowed_hosts")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"[\w.-]+", name):
                raise ValueError(f"{name!r} is no host name; give it without scheme and port, such as spar.example.com")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#\s]+", origin):
                raise ValueError(f"{origin!r} is no origin; give scheme and host, such as https://chat.example.com")
        return value

    @model_validator(mode="after")
    def _two_ports(self) -> Self:
        if self.metrics.port is not None and self.metrics.port == self.port:
            raise ValueError("metrics.port is the server's own port; choose another")
        return self

    @field_validator("vllm", mode="before")
    @classmethod
    def _numbers_from_text(cls, value: Any) -> Any:
        """A variable's value is text; vLLM wants its numbers and switches."""
        if not isinstance(value, Mapping):
            return value
        return {name: _decoded(one) if isinstance(one, str) else one for name, one in value.items()}

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        """Flags, then the environment, then the file."""
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=cls._file))


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def load_settings(flags: Mapping[str, Any], file: Path | None = None) -> Settings:
    """Settings from all sources; `file` defaults to ./spar.toml where there is one.

    Raises:
        ConfigError: the file is missing or no TOML, or a key or a value is wrong; names each and the fix.
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
    of_role = item["loc"][0] in ("actor", "refiner")
    # After the role stands which kind of model it was read as: no key of the user's.
    loc = (item["loc"][0], *item["loc"][2:]) if of_role else item["loc"]
    key = ".".join(map(str, loc))
    if item["type"] == "extra_forbidden" and of_role and item["loc"][1] == "vllm" and loc[-1] in Upstream.model_fields:
        return f"{key}: not beside {loc[0]}.vllm; set the one or the other"
    if item["type"] == "extra_forbidden":
        return f"{key}: there is no such setting; remove it or see `spar serve --help` and docs/serving.md"
    if item["type"] == "missing":
        flag = f"give --{key.replace('.', '-')}, or " if of_role else ""
        return f"{key}: is needed; {flag}set it in the file or as SPAR_{key.upper().replace('.', '__')}"
    return f"{key}: {item['msg']} (got {item['input']!r})"


def _refuse_unknown_variables() -> None:
    """A mistyped variable is an error, not a setting that silently does nothing."""
    known = {f"SPAR_{name.upper()}" for name in Settings.model_fields}
    for variable in os.environ:
        # SPAR_CACHE is where models are kept; SPAR_DATA is the tests': where public data sets lie.
        if variable.startswith("SPAR_") and variable.split("__")[0] not in known | {"SPAR_CACHE", "SPAR_DATA"}:
            raise ConfigError(f"{variable}: there is no such setting; known: {', '.join(sorted(known))}")
