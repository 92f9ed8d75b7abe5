"""training/spar_training/inference/endpoint.py"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """Where a model is: a folder for the embedded engine, or its name at one or many OpenAI-compatible URLs.

    `answer_s` are the seconds that an answer of a server may take; None is the backend's own default.
    """

    model: str
    urls: tuple[str, ...] = ()
    answer_s: float | None = None
