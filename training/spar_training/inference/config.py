"""How the models of a run are served: the recipe's `serving`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from spar_core.validation import StrictModel


class Serving(StrictModel):
    """How the models of a run are served to its data stages.

    `embedded`: in this process. `command`: a server for each of `replicas`, started before the stages that call it and
    stopped after them. In the command and its `environment`, {model} (the folder), {name} (the model's name), {port},
    {replica} (from 0) and {gpus} (the `gpus_per_replica` GPUs of the replica, such as "2,3") are filled in. The server
    must offer OpenAI's API under /v1, and answer a call within `answer_within_s` (default: 240 s). Each iteration
    trains new models, so running servers cannot be named by URL.
    """

    engine: Literal["embedded", "command"] = "embedded"
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    replicas: int = Field(default=1, gt=0)
    gpus_per_replica: int = Field(default=1, gt=0)
    ready_within_s: float = Field(default=900, gt=0)
    answer_within_s: float | None = Field(default=None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _no_urls(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and (values.get("engine") == "urls" or {"url", "urls"} & values.keys()):
            raise ValueError(
                "servers cannot be named by URL, since each iteration trains models that they do not have; with "
                "engine: command, give a command that serves the folder {model} as {name} there, and forwards {port} "
                "of this machine to it until it is terminated"
            )
        return values

    @model_validator(mode="after")
    def _command_where_needed(self) -> Serving:
        if (self.engine == "command") is (not self.command):
            raise ValueError("command: required with engine: command, and not allowed otherwise")
        return self
