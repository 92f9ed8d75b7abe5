"""The embedded engine: one transformers model, one worker thread, continuous batching over slots.

Requests join between decoding steps and leave when they are done; all live requests decode together.
Prompts that wait together and are equal, such as the votes of one judgement, are computed once.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import random
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from spar_core.backends.chat_template import PromptEncoder
from spar_core.backends.in_process.request import Request
from spar_core.backends.in_process.text import TextStream
from spar_core.backends.local.kv_cache import SlotCache, Step
from spar_core.backends.local.sampler import sample_tokens
from spar_core.backends.penalties import PENALTIES, read_penalties
from spar_core.backends.unsupported import refuse_unsupported
from spar_core.cpu import usable_cores
from spar_core.errors import BackendRejected, BackendUnavailable, ConfigError
from spar_core.types import FinishReason, Message, Sampling, Usage

logger = logging.getLogger(__name__)

# Prompts computed in one forward pass: bounds its memory, and how long live rows wait for it.
_PROMPTS_AT_ONCE: Final = 8
# Below this size a step is too short to be worth dealing out over cores.
_SMALL_MODEL: Final = 30_000_000
# Tokens that must fit beyond those that there are when a request joins others.
_AHEAD: Final = 16
_MIB: Final = 2**20


class LocalEngine:
    """A model in this process.

    `max_slots` requests decode together; more wait in order of arrival. `cache_mib` is the most memory for keys and
    values, taken as it is needed. `max_context` (tokens) defaults to
    the model's own, or to its attention window when that slides. `threads` are the CPU cores of this engine;
    by default one for a small model, so that two small engines run side by side, and every core for a large one.

    Raises:
        ConfigError: there is no model in `model_dir`.
    """

    def __init__(
        self,
        model_dir: str | Path,
        *,
        device: str = "auto",
        max_slots: int = 32,
        cache_mib: int = 512,
        max_context: int | None = None,
        threads: int | None = None,
    ) -> None:
        if not (Path(model_dir) / "config.json").exists():
            raise ConfigError(f"{model_dir}: no model here (config.json is missing)")
        self._device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self._tokenizer: Any = AutoTokenizer.from_pretrained(model_dir)
        dtype = _dtype(self._device, Path(model_dir))
        self._model: Any = AutoModelForCausalLM.from_pretrained(model_dir, dtype=dtype).to(self._device).eval()
        config = self._model.config
        # Every token sees all before it here. Up to its window, a model with sliding attention does the same.
        limits = (max_context, config.max_position_embeddings, getattr(config, "sliding_window", None))
        self.context = min(limit for limit in limits if limit)
        self.max_slots = max_slots
        self._threads = threads or self._usual_threads()
        tokens = cache_mib * _MIB // _token_bytes(config, dtype)
        # Without room for it a request would wait for ever.
        self.context = min(self.context, tokens)
        self._cache = SlotCache(layers=config.num_hidden_layers, tokens=tokens, context=self.context)
        self._ends = self._end_tokens()
        self._encoder = PromptEncoder(self._tokenizer, engine="the embedded engine")
        self._incoming: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._waiting: list[Request] = []
        self._live: list[Request] = []
        self._arrivals = 0
        # Why there are no more answers. Under the lock, so that no request is queued after the last drain.
        self._ended: BackendUnavailable | None = None
        self._lock = threading.Lock()
        self._worker = threading.Thread(target=self._work, name="spar-local-engine", daemon=True)
        self._worker.start()

    @property
    def running(self) -> int:
        """Requests that hold a slot."""
        return len(self._live)

    @property
    def alive(self) -> bool:
        """Whether it takes requests: it was not closed and has not broken."""
        return self._ended is None

    def submit(self, asked: Sequence[Message] | str, sampling: Sampling, *, streamed: bool = True) -> Request:
        """Queue a completion of a chat or of a text; its deltas, or its only one, arrive on the request's queue.

        Call from the event loop.

        Raises:
            BackendUnavailable: the engine is closed, or it broke.
        """
        seed = sampling.seed if sampling.seed is not None else random.getrandbits(63)
        asked = asked if isinstance(asked, str) else tuple(asked)
        request = Request(asked, sampling, seed, asyncio.get_running_loop(), streamed)
        with self._lock:
            if self._ended:
                raise BackendUnavailable(str(self._ended))
            self._incoming.put(request)
        return request

    def close(self) -> None:
        """Stop the worker; running and waiting requests fail with BackendUnavailable. Waits for the step under way."""
        self._end(BackendUnavailable("the embedded engine is closed"))
        self._incoming.put(None)
        self._worker.join()
        # Its layers refer back to it, so its memory would stay until garbage is next collected.
        self._cache.layers.clear()

    def _end(self, error: BackendUnavailable) -> None:
        """Take no more requests. The first reason stands."""
        with self._lock:
            self._ended = self._ended or error

    def _usual_threads(self) -> int:
        small = sum(parameter.numel() for parameter in self._model.parameters()) < _SMALL_MODEL
        return 1 if small else usable_cores()

    def _end_tokens(self) -> frozenset[int]:
        ends = self._model.generation_config.eos_token_id
        if ends is None:
            ends = self._tokenizer.eos_token_id
        return frozenset(ends if isinstance(ends, list) else [ends])

    def _work(self) -> None:
        if self._device == "cpu":
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                while self._receive():
                    self._drop_cancelled()
                    self._admit()
                    self._decode()
        except Exception as problem:
            # The edge of this thread: a broken worker must fail its callers, not hang them.
            logger.exception("the embedded engine broke")
            self._end(BackendUnavailable(f"the embedded engine broke: {type(problem).__name__}: {problem}"))
        self._fail_all()

    def _receive(self) -> bool:
        """Take what has arrived, waiting for it when there is nothing to do; False once closed."""
        idle = not self._live and not self._waiting
        while True:
            try:
                request = self._incoming.get(block=idle)
            except queue.Empty:
                # Its closing may not have come through the queue yet, and no step may follow it.
                return self._ended is None
            if request is None:
                return False
            idle = False
            # In line before anything can go wrong with it, so that a broken worker still answers it.
            self._arrivals += 1
            request.arrival = self._arrivals
            self._waiting.append(request)
            self._prepare(request)

    def _prepare(self, request: Request) -> None:
        """Tokenize the request that is last in line, or reject it."""
        try:
            refuse_unsupported(request.sampling, engine="the embedded engine", honoured=PENALTIES)
            request.penalties = read_penalties(request.sampling.extra)
            asked, encoder = request.asked, self._encoder
            prompt = (
                encoder.encode_text(asked, context=self.context)
                if isinstance(asked, str)
                else encoder.encode(asked, context=self.context)
            )
            room = self.context - len(prompt)
        except BackendRejected as error:
            self._waiting.pop()
            request.deliver(error)
            return
        wanted = request.sampling.max_tokens
        request.room = room if wanted is None else min(room, wanted)
        request.prompt = prompt
        request.text = TextStream(self._tokenizer, request.sampling.stop)

    def _drop_cancelled(self) -> None:
        self._waiting = [request for request in self._waiting if not request.cancelled]
        for row in reversed(range(len(self._live))):
            if self._live[row].cancelled:
                self._free(row)

    def _free(self, row: int) -> None:
        """Give a row back: the last live row moves into its place."""
        last = self._live.pop()
        if row < len(self._live):
            self._cache.copy_row(len(self._live), row, last.length)
            self._live[row] = last

    def _admit(self) -> None:
        """Move waiting requests to free rows, their prompts computed and first tokens sampled."""
        while self._waiting and len(self._live) < self.max_slots:
            group = self._next_group(self.max_slots - len(self._live))
            if not group:
                return
            self._prefill(group)
            # Only now: should the forward pass break, they must still be found and failed.
            self._waiting = self._waiting[sum(map(len, group.values())) :]

    def _next_group(self, free: int) -> dict[tuple[int, ...], list[Request]]:
        """The first in line that fit, by what is to be computed of them: prompts, and what was said already."""
        group: dict[tuple[int, ...], list[Request]] = {}
        rows = len(self._live)
        longest = max((request.length + 1 for request in self._live), default=0)
        for request in self._waiting[:free]:
            tokens = (*request.prompt, *request.answer)
            longest, rows = max(longest, len(tokens)), rows + 1
            # Some more than fits now: else it would have to give way at once.
            ahead = 0 if rows == 1 else _AHEAD
            if not self._cache.fits(rows, longest + ahead) or (tokens not in group and len(group) == _PROMPTS_AT_ONCE):
                break
            group.setdefault(tokens, []).append(request)
        return group

    def _prefill(self, group: Mapping[tuple[int, ...], list[Request]]) -> None:
        first = len(self._live)
        prompts = list(group)
        longest = max(map(len, prompts))
        # Padding on the right is never seen: tokens see only what stands before them in their row,
        # and decoding overwrites the padding's places one by one.
        ids = torch.tensor([[*prompt, *([0] * (longest - len(prompt)))] for prompt in prompts])
        positions = torch.arange(longest).expand(len(prompts), -1)
        ends = torch.tensor([len(prompt) - 1 for prompt in prompts], device=self._device)
        kept, place = torch.unique(ends, return_inverse=True)
        logits = self._forward(ids, positions, first, kept)[torch.arange(len(prompts)), place]
        requests: list[Request] = []
        rows: list[int] = []
        for number, prompt in enumerate(prompts):
            requests.append(group[prompt][0])
            rows.append(number)
        for number, prompt in enumerate(prompts):
            for twin in group[prompt][1:]:
                self._cache.copy_row(first + number, first + len(requests), len(prompt))
                requests.append(twin)
                rows.append(number)
        self._live += requests
        self._advance(first, logits[rows])

    def _decode(self) -> None:
        """One token more for every live row."""
        if not self._live:
            return
        self._keep_to_the_bound()
        ids = torch.tensor([[request.answer[-1]] for request in self._live])
        positions = torch.tensor([[request.length] for request in self._live])
        logits = self._forward(ids, positions, 0, 1)[:, -1]
        self._advance(0, logits)

    def _keep_to_the_bound(self) -> None:
        """Where one token more for each does not fit, the latest give way, and are computed again later."""
        while not self._cache.fits(len(self._live), max(request.length for request in self._live) + 1):
            row = max(range(len(self._live)), key=lambda row: self._live[row].arrival)
            self._waiting.insert(0, self._live[row])
            self._free(row)

    def _forward(
        self, ids: torch.Tensor, positions: torch.Tensor, first: int, keep: int | torch.Tensor
    ) -> torch.Tensor:
        """Logits (rows, kept, vocabulary) of rows from `first` on."""
        positions = positions.to(self._device)
        self._cache.step = Step(first, positions)
        output = self._model(
            input_ids=ids.to(self._device),
            position_ids=positions,
            attention_mask=self._cache.step.mask,
            cache=self._cache,
            use_cache=True,
            logits_to_keep=keep,
        )
        logits: torch.Tensor = output.logits
        return logits

    def _advance(self, first: int, logits: torch.Tensor) -> None:
        """Sample the next token of the rows from `first` on, and let go of those that are done."""
        requests = self._live[first:]
        for row, request in enumerate(requests):
            if request.penalties and request.answer:
                found, amounts = request.penalties.deductions(request.answer)
                logits[row, found] -= torch.tensor(amounts, dtype=logits.dtype, device=logits.device)
        tokens = sample_tokens(logits, [r.sampling for r in requests], [r.draw() for r in requests])
        for row in reversed(range(len(requests))):
            if self._take(requests[row], tokens[row]):
                self._free(first + row)

    def _take(self, request: Request, token: int) -> bool:
        """Give a request its next token; True when that was its last."""
        assert request.text is not None
        request.answer.append(token)
        ended = token in self._ends
        piece = "" if ended else request.text.push(token)
        finish: FinishReason | None = None
        if ended or request.text.stopped:
            finish = "stop"
        elif len(request.answer) >= request.room:
            finish = "length"
        if finish is None:
            if piece:
                request.say(piece)
            return False
        usage = Usage(len(request.prompt), len(request.answer))
        request.say(piece + request.text.flush(), finish, usage)
        return True

    def _fail_all(self) -> None:
        assert self._ended is not None
        while True:
            try:
                request = self._incoming.get_nowait()
            except queue.Empty:
                break
            if request is not None:
                self._waiting.append(request)
        for request in (*self._live, *self._waiting):
            # One for each: raising an error leaves its traceback on it.
            request.deliver(BackendUnavailable(str(self._ended)))
        self._live, self._waiting = [], []


def _dtype(device: str, folder: Path) -> torch.dtype:
    """Half the bytes where the hardware computes with them. On a CPU a small model would gain nothing."""
    if device != "cpu":
        return torch.bfloat16
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return torch.bfloat16 if size >= 2 * _SMALL_MODEL and cpu_has_bfloat16() else torch.float32


def cpu_has_bfloat16() -> bool:
    """Whether this machine's CPU has instructions for bf16; without, it is emulated, which is slow."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _token_bytes(config: Any, dtype: torch.dtype) -> int:
    """Memory of one token's keys and values in all layers."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * dtype.itemsize)
