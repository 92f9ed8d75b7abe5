"""A key-value cache of slots: each row is one request with a length of its own.

Live rows are kept at the front, so that a decoding step works on a view of the cache, not on a copy.
"""

from __future__ import annotations

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


class _SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """One model layer's keys and values: (slots, heads, context, head size)."""

    def __init__(self, cache: SlotCache) -> None:
        super().__init__()
        self._cache = cache
        self.keys: torch.Tensor
        self.values: torch.Tensor

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        slots, context = self._cache.slots, self._cache.context
        for name, states in (("keys", key_states), ("values", value_states)):
            shape = (slots, states.size(1), context, states.size(3))
            setattr(self, name, torch.zeros(shape, dtype=states.dtype, device=states.device))
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write (rows, heads, new tokens, head size) where the step says; return the rows' window."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        step = self._cache.step
        self.keys[step.index, :, step.positions] = key_states.transpose(1, 2)
        self.values[step.index, :, step.positions] = value_states.transpose(1, 2)
        return self.keys[step.rows, :, : step.window], self.values[step.rows, :, : step.window]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._cache.step.window, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return self._cache.context


class Step:
    """What one forward pass touches: rows `first` to `first + n`, writing at `positions` (n, new tokens)."""

    def __init__(self, first: int, positions: torch.Tensor) -> None:
        self.rows = slice(first, first + positions.size(0))
        self.index = torch.arange(first, first + positions.size(0), device=positions.device)[:, None]
        self.positions = positions
        self.window = int(positions.max()) + 1
        reach = torch.arange(self.window, device=positions.device)
        # (n, 1, new tokens, window): each token sees its row up to itself.
        self.mask = (reach <= positions[:, :, None])[:, None]


class SlotCache(Cache):  # type: ignore[misc]
    """`slots` rows of `context` tokens. Set `step` before a forward pass."""

    step: Step

    def __init__(self, *, layers: int, slots: int, context: int) -> None:
        self.slots = slots
        self.context = context
        super().__init__(layers=[_SlotLayer(self) for _ in range(layers)])

    def copy_row(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of one row to another."""
        for layer in self.layers:
            layer.keys[target, :, :length] = layer.keys[source, :, :length]
            layer.values[target, :, :length] = layer.values[source, :, :length]
