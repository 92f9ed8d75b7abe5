"""Which replica a call is at home at: the one that likely holds its prompt's beginning in its prefix cache.

Homes are dealt by rendezvous hashing (Thaler and Ravishankar 1998): every process deals alike, and a replica that goes
moves only the calls that were its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from spar_core.types import Message


def conversation_key(messages: Sequence[Message]) -> str:
    """One key for all turns of a conversation: what it opens with, up to the user's first message."""
    digest = hashlib.blake2b(digest_size=16)
    for message in messages:
        digest.update(f"{message.role}\0{message.text}\0".encode("utf-8", "surrogatepass"))
        if message.role == "user":
            break
    return digest.hexdigest()


def body_key(body: Mapping[str, Any]) -> str:
    """One key for requests with one prompt, or one input."""
    asked = repr(body.get("prompt", body.get("input")))
    return hashlib.blake2b(asked.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def rendezvous(key: str, name: str) -> bytes:
    """The claim of the replica called `name` on `key`; the greatest is its home."""
    return hashlib.blake2b(f"{key}\0{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
