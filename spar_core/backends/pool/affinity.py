"""Cache affinity: a call's home is the replica that likely has the beginning of its prompt in its prefix cache.

Homes are assigned by rendezvous hashing (Thaler and Ravishankar 1998): every process assigns the same ones, and a
replica that disappears moves only its own calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from spar_core.types import Message

# The most of a text, of a list and of a chat that a key depends on.
_CHARACTERS: Final = 16 * 1024
_ITEMS: Final = 64
_MESSAGES: Final = 64


def conversation_key(messages: Sequence[Message]) -> str:
    """The same key for all turns of a conversation: a hash of its beginning, up to the user's first message."""
    digest = hashlib.blake2b(digest_size=16)
    for message in messages[:_MESSAGES]:
        digest.update(f"{message.role}\0{_opening(message.content)}\0".encode("utf-8", "surrogatepass"))
        if message.role == "user":
            break
    return digest.hexdigest()


def body_key(body: Mapping[str, Any]) -> str:
    """The same key for requests with the same prompt or input."""
    prompt = body.get("prompt", body.get("input"))
    opening = [_opening(each) for each in prompt[:_ITEMS]] if isinstance(prompt, list) else _opening(prompt)
    return hashlib.blake2b(repr(opening).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _opening(content: object) -> str:
    """Enough of the content to distinguish it; hashing megabytes would delay other requests."""
    if isinstance(content, str):
        return content[:_CHARACTERS]
    if isinstance(content, list | tuple):
        return "".join(_opening(each) for each in content[:_ITEMS])
    if isinstance(content, Mapping):
        return _opening(content.get("text")) if content.get("type") == "text" else f"[{content.get('type', 'part')}]"
    return repr(content)[:_CHARACTERS]


def rendezvous(key: str, name: str) -> bytes:
    """The score of the replica `name` for `key`; the replica with the highest score is the home."""
    return hashlib.blake2b(f"{key}\0{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
