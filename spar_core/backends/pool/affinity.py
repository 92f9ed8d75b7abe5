"""Which replica a call is at home at: the one that likely holds its prompt's beginning in its prefix cache.

Homes are dealt by rendezvous hashing (Thaler and Ravishankar 1998): every process deals alike, and a replica that goes
moves only the calls that were its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from spar_core.types import Message

# What a key is made of: so much of a text, so many of a list, so many messages.
_CHARACTERS: Final = 16 * 1024
_ITEMS: Final = 64
_MESSAGES: Final = 64


def conversation_key(messages: Sequence[Message]) -> str:
    """One key for all turns of a conversation: what it opens with, up to the user's first message."""
    digest = hashlib.blake2b(digest_size=16)
    for message in messages[:_MESSAGES]:
        digest.update(f"{message.role}\0{_opening(message.content)}\0".encode("utf-8", "surrogatepass"))
        if message.role == "user":
            break
    return digest.hexdigest()


def body_key(body: Mapping[str, Any]) -> str:
    """One key for requests with one prompt, or one input."""
    asked = body.get("prompt", body.get("input"))
    opening = [_opening(each) for each in asked[:_ITEMS]] if isinstance(asked, list) else _opening(asked)
    return hashlib.blake2b(repr(opening).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _opening(content: object) -> str:
    """Enough of it to tell it from others; to hash megabytes would hold up who else is served."""
    if isinstance(content, str):
        return content[:_CHARACTERS]
    if isinstance(content, list | tuple):
        return "".join(_opening(each) for each in content[:_ITEMS])
    if isinstance(content, Mapping):
        return _opening(content.get("text")) if content.get("type") == "text" else f"[{content.get('type', 'part')}]"
    return repr(content)[:_CHARACTERS]


def rendezvous(key: str, name: str) -> bytes:
    """The claim of the replica called `name` on `key`; the greatest is its home."""
    return hashlib.blake2b(f"{key}\0{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
