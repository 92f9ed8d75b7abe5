"""Where a model can be called."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelEndpoint:
    """A folder to load into the embedded engine, or, with `urls`, the model's name at OpenAI-compatible servers.

    An answer of a server may take `answer_s` seconds; None means the backend's default.
    """

    model: str
    urls: tuple[str, ...] = ()
    answer_s: float | None = None
