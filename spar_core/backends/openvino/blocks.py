"""Who holds which blocks of the cache, and which prompts' blocks can be shared."""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from spar_core.backends.openvino.paged_model import BLOCK

_FIRST: Final = 64


class Blocks:
    """Block 0 is never given out. `grow` makes the cache larger, up to `most` blocks.

    Full blocks of a prompt stay after its request for the next that begins so, until room is needed.
    """

    def __init__(self, *, most: int, grow: Callable[[int], None]) -> None:
        self.most = most
        self._grow = grow
        self._made = 1
        self._free: list[int] = []
        self._holders: dict[int, int] = {}
        # Blocks of prompts by what stands in them and before them, and back.
        self._by_chain: dict[bytes, int] = {}
        self._chains: dict[int, bytes] = {}
        # Of these, those that no request holds, the longest unused first.
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def held(self) -> int:
        """Blocks that requests hold."""
        return len(self._holders)

    def available(self) -> int:
        """How many more can be taken now."""
        return self.most - 1 - len(self._holders)

    def take(self, count: int) -> list[int]:
        """New blocks; there must be that many available."""
        taken = [self._take_one() for _ in range(count)]
        for block in taken:
            self._holders[block] = 1
        return taken

    def share(self, blocks: Sequence[int]) -> list[int]:
        """The same blocks for one more holder."""
        for block in blocks:
            self._holders[block] = self._holders.get(block, 0) + 1
            self._idle.pop(block, None)
        return list(blocks)

    def release(self, blocks: Sequence[int]) -> None:
        """One holder lets go of them."""
        for block in blocks:
            self._holders[block] -= 1
            if not self._holders[block]:
                del self._holders[block]
                if block in self._chains:
                    self._idle[block] = None
                else:
                    self._free.append(block)

    def cached(self, tokens: Sequence[int], adapter: int) -> list[int]:
        """Blocks that hold the beginning of a prompt, but for its last token, which must be computed."""
        found: list[int] = []
        for chain in _chains(tokens[:-1], adapter):
            block = self._by_chain.get(chain)
            if block is None:
                break
            found.append(block)
        return found

    def remember(self, tokens: Sequence[int], adapter: int, blocks: Sequence[int]) -> None:
        """These blocks hold this prompt, all of it computed."""
        for chain, block in zip(_chains(tokens, adapter), blocks, strict=False):
            if chain not in self._by_chain and block not in self._chains:
                self._by_chain[chain] = block
                self._chains[block] = chain

    def _take_one(self) -> int:
        if not self._free and self._made < self.most:
            before = self._made
            self._made = min(self.most, max(_FIRST, 2 * before))
            self._grow(self._made)
            self._free.extend(reversed(range(before, self._made)))
        if self._free:
            return self._free.pop()
        block, _ = self._idle.popitem(last=False)
        del self._by_chain[self._chains.pop(block)]
        return block


def _chains(tokens: Sequence[int], adapter: int) -> list[bytes]:
    """What identifies each full block: a digest of its tokens and of all that is before them."""
    chains: list[bytes] = []
    before = adapter.to_bytes(8, "little")
    for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
        piece = array("q", tokens[start : start + BLOCK]).tobytes()
        before = hashlib.blake2b(before + piece, digest_size=16).digest()
        chains.append(before)
    return chains
