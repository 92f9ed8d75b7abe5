"""training/spar_training/inference/config.py"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from spar_core.validation import StrictModel


class Serving(StrictModel):
    """How the models of a run are served to its data stages.

    `embedded`: in this process. `command`: a server for each of `replicas`, started before the stages that call it and
    stopped after them, with {model} (its folder), {name} (what it is called), {port}, {replica} (from 0) and {gpus}
    (the replica's own, `gpus_per_replica` of them: "2,3") filled in; it must have OpenAI's API under /v1, and answer
    each call within `answer_within_s` (None: the limit of every client of ours, 240 s). Each iteration trains
    models anew, so servers that stand elsewhere cannot be named by URL.
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
                "of this machine to it until it is told to end"
            )
        return values

    @model_validator(mode="after")
    def _command_where_needed(self) -> Serving:
        if (self.engine == "command") is (not self.command):
            raise ValueError("command: give it with engine: command, and with that only")
        return self
