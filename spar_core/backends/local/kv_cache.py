"""A key-value cache of slots: each row is one request with a length of its own.

Live rows are kept at the front, so that a decoding step works on a view of the cache, not on a copy.
"""

from __future__ import annotations

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

# Tokens of a row at the least.
_LEAST = 64


class _SlotLayer(CacheLayerMixin):  # type: ignore[misc]
    """One model layer's keys and values: (rows, heads, tokens, head size)."""

    def __init__(self, cache: SlotCache) -> None:
        super().__init__()
        self._cache = cache
        self.keys: torch.Tensor
        self.values: torch.Tensor

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        for name, states in (("keys", key_states), ("values", value_states)):
            setattr(self, name, states.new_zeros((0, states.size(1), 0, states.size(3))))
        self.is_initialized = True

    def resize(self, rows: int, window: int) -> None:
        """Have room for so many rows and tokens of each; what fits stays as it is."""
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_zeros((rows, old.size(1), window, old.size(3)))
            kept_rows, kept = min(rows, old.size(0)), min(window, old.size(2))
            new[:kept_rows, :, :kept] = old[:kept_rows, :, :kept]
            setattr(self, name, new)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write (rows, heads, new tokens, head size) where the step says; return the rows' window."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        step = self._cache.step
        rows, window = self._cache.room
        if self.keys.size(0) != rows or self.keys.size(2) != window:
            self.resize(rows, window)
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
    """Rows of tokens, as many and as long as what runs needs; `tokens` bounds rows times length.

    Set `step` before a forward pass.
    """

    def __init__(self, *, layers: int, tokens: int, context: int) -> None:
        self.tokens = tokens
        self.context = context
        self.room = (0, 0)
        super().__init__(layers=[_SlotLayer(self) for _ in range(layers)])

    @property
    def step(self) -> Step:
        """What the forward pass under way touches."""
        return self._step

    @step.setter
    def step(self, step: Step) -> None:
        self._step = step
        self.make_room(step.rows.stop, step.window)

    def fits(self, rows: int, window: int) -> bool:
        """Whether there may be room for that."""
        return rows * window <= self.tokens

    def make_room(self, rows: int, window: int) -> None:
        """Have at least that much. It grows by doubling while the bound allows that, so that it seldom grows."""
        have_rows, have_window = self.room
        if rows <= have_rows and window <= have_window:
            return
        ample_rows = have_rows if rows <= have_rows else max(rows, 2 * have_rows)
        ample_window = have_window if window <= have_window else min(self.context, max(window, 2 * have_window, _LEAST))
        wanted = ((ample_rows, ample_window), (rows, ample_window), (ample_rows, window))
        self.room = next((room for room in wanted if self.fits(*room)), (rows, window))

    def copy_row(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of one row to another."""
        self.make_room(target + 1, length)
        for layer in self.layers:
            if (layer.keys.size(0), layer.keys.size(2)) != self.room:
                layer.resize(*self.room)
            layer.keys[target, :, :length] = layer.keys[source, :, :length]
            layer.values[target, :, :length] = layer.values[source, :, :length]
