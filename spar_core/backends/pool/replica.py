"""What a pool is made of: a backend that can be asked whether it lives."""

from __future__ import annotations

from typing import Protocol

from spar_core.backends.base import Backend
from spar_core.backends.raw import PassThrough


class Replica(Backend, PassThrough, Protocol):
    """One server of a model."""

    @property
    def name(self) -> str:
        """Its own among its kind and the same in every process; for logs and hashes, not for clients."""
        ...

    async def alive(self) -> bool:
        """Whether the server answers at all; soon, and without an error."""
        ...
