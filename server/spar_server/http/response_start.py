"""Callbacks at the start of a response.

A wrapper of `send` is called for every message, thousands of times for a stream, but most middleware only needs the
first message. So there is a single wrapper, which calls the hooks of all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.types import Message, Scope, Send

Hook = Callable[[Message], None]
_HOOKS: Final = "spar.response_start"


def on_start(scope: Scope, hook: Hook) -> None:
    """Call `hook` with the message that starts the response, which it can change."""
    scope.setdefault(_HOOKS, []).append(hook)


def call_hooks(scope: Scope, send: Send) -> Send:
    """Wrap the outermost `send`, so that it calls the hooks of `on_start`."""
    hooks: list[Hook] = scope.setdefault(_HOOKS, [])

    async def hooked(message: Message) -> None:
        if message["type"] == "http.response.start":
            for hook in hooks:
                hook(message)
        await send(message)

    return hooked
