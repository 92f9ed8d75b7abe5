"""The engine for CPUs: one model under OpenVINO, one worker thread, continuous batching over a paged cache.

Requests join between steps and leave when they are done; prompts are computed in pieces beside the requests that
generate, and equal beginnings of prompts once. A request's text depends on the request alone.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spar_core.backends.chat_template import PromptEncoder
from spar_core.backends.in_process.request import Request
from spar_core.backends.in_process.text import TextStream
from spar_core.backends.openvino.adapters import insert_adapters, load_adapter
from spar_core.backends.openvino.blocks import Blocks
from spar_core.backends.openvino.generation import Generation
from spar_core.backends.openvino.graph_cache import ConvertedModel, load_converted
from spar_core.backends.openvino.guidance import Guides
from spar_core.backends.openvino.options import HONOURED, read_options
from spar_core.backends.openvino.paged_model import BLOCK, PagedModel, Slice
from spar_core.backends.openvino.tokenizer import ChatTokenizer
from spar_core.backends.unsupported import refuse_unsupported
from spar_core.errors import BackendRejected, BackendUnavailable, ConfigError
from spar_core.types import Message, Sampling

logger = logging.getLogger(__name__)

# Prompt tokens in one step: bounds its memory, and how long requests that generate wait for it.
_PROMPT_TOKENS: Final = 16 * BLOCK
_MIB: Final = 2**20


class OpenVinoEngine:
    """A model in this process, on its CPU.

    `model` is a GGUF file or a folder as `save_pretrained` writes it; `adapters` are folders of LoRA adapters over it,
    which requests choose from. `max_slots` requests generate together; more wait in order of arrival. `cache_mib` is
    the most memory for keys and values, taken as it is needed. `max_context` (tokens) defaults to the model's own.

    Raises:
        ConfigError: there is no such model or adapter, or one that cannot be run here.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        adapters: Sequence[str | Path] = (),
        max_slots: int = 64,
        max_context: int | None = None,
        cache_mib: int = 512,
        threads: int | None = None,
    ) -> None:
        converted = load_converted(Path(model))
        self._adapters = {str(folder): number for number, folder in enumerate(dict.fromkeys(adapters), start=1)}
        if self._adapters:
            insert_adapters(converted.graph, [load_adapter(Path(folder)) for folder in self._adapters])
        self._model = PagedModel(
            converted.graph, quantized=converted.quantized, threads=threads or _usual_threads(converted)
        )
        most = cache_mib * _MIB // self._model.block_bytes
        if most < 3:
            raise ConfigError(f"cache_mib is {cache_mib}; this model needs {3 * self._model.block_bytes // _MIB + 1}")
        self._blocks = Blocks(most=most, grow=self._model.grow)
        # Without room for it a request would wait for ever.
        self.context = min(filter(None, (max_context, converted.context, (most - 1) * BLOCK)))
        self.max_slots = max_slots
        self._vocabulary = converted.vocabulary
        self._ends = frozenset(converted.end_tokens)
        self._tokenizer = ChatTokenizer(
            converted.tokenizer, template=converted.template, tokens=converted.template_tokens
        )
        self._guides = Guides(converted.tokenizer, vocabulary=converted.vocabulary, end_tokens=converted.end_tokens)
        self._encoder = PromptEncoder(self._tokenizer, engine="the embedded engine")
        self._incoming: queue.SimpleQueue[tuple[Request, int] | None] = queue.SimpleQueue()
        self._waiting: list[Generation] = []
        self._live: list[Generation] = []
        # Why there are no more answers. Under the lock, so that no request is queued after the last drain.
        self._ended: BackendUnavailable | None = None
        self._lock = threading.Lock()
        self._worker = threading.Thread(target=self._work, name="spar-openvino-engine", daemon=True)
        self._worker.start()

    @property
    def running(self) -> int:
        """Requests that hold a slot."""
        return len(self._live)

    @property
    def held_blocks(self) -> int:
        """Blocks of the cache that requests hold."""
        return self._blocks.held

    @property
    def alive(self) -> bool:
        """Whether it takes requests: it was not closed and has not broken."""
        return self._ended is None

    @property
    def constrains(self) -> bool:
        """Whether llguidance, which constrains answers to a schema, is installed."""
        return find_spec("llguidance") is not None

    def adapted(self, adapter: str | Path | None) -> AdaptedEngine:
        """This engine for one of its adapters; without one for the model as it is."""
        return AdaptedEngine(self, 0 if adapter is None else self._adapters[str(adapter)])

    def submit(
        self, asked: Sequence[Message] | str, sampling: Sampling, *, streamed: bool = True, adapter: int = 0
    ) -> Request:
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
            self._incoming.put((request, adapter))
        return request

    def close(self) -> None:
        """Stop the worker; running and waiting requests fail with BackendUnavailable. Waits for the step under way."""
        self._end(BackendUnavailable("the embedded engine is closed"))
        self._incoming.put(None)
        self._worker.join()

    def _end(self, error: BackendUnavailable) -> None:
        """Take no more requests. The first reason stands."""
        with self._lock:
            self._ended = self._ended or error

    def _work(self) -> None:
        try:
            while self._receive():
                self._drop_cancelled()
                self._admit()
                if self._live:
                    self._step()
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
                arrived = self._incoming.get(block=idle)
            except queue.Empty:
                # Its closing may not have come through the queue yet, and no step may follow it.
                return self._ended is None
            if arrived is None:
                return False
            idle = False
            # In line before anything can go wrong with it, so that a broken worker still answers it.
            generation = Generation(*arrived)
            self._waiting.append(generation)
            self._prepare(generation)

    def _prepare(self, generation: Generation) -> None:
        """Tokenize the request that is last in line, or reject it."""
        request = generation.request
        try:
            refuse_unsupported(request.sampling, engine="the embedded engine", honoured=HONOURED)
            generation.options = read_options(request.sampling.extra, vocabulary=self._vocabulary)
            generation.guide = self._guides.make(request.sampling.extra.get("response_format"))
            asked, encoder = request.asked, self._encoder
            request.prompt = (
                encoder.encode_text(asked, context=self.context)
                if isinstance(asked, str)
                else encoder.encode(asked, context=self.context)
            )
            room = self.context - len(request.prompt)
        except BackendRejected as error:
            self._waiting.pop()
            request.deliver(error)
            return
        wanted = request.sampling.max_tokens
        request.room = room if wanted is None else min(room, wanted)
        request.text = TextStream(self._tokenizer, request.sampling.stop)

    def _drop_cancelled(self) -> None:
        for generation in [each for each in self._live if each.request.cancelled]:
            # Not those that followed one of them, which are back in line now.
            if generation in self._live:
                self._free(generation)
        self._waiting = [each for each in self._waiting if not each.request.cancelled]

    def _free(self, generation: Generation) -> None:
        self._live.remove(generation)
        self._blocks.release(generation.blocks)
        generation.blocks = []
        # Those that waited for its prompt compute it themselves.
        self._line_up(generation.followers)
        generation.followers = []

    def _line_up(self, generations: Sequence[Generation]) -> None:
        """Take these from their slots; they come first when there is room again."""
        self._live = [live for live in self._live if live not in generations]
        self._waiting[:0] = generations

    def _admit(self) -> None:
        """Give waiting requests slots and their prompts' blocks, in order of arrival."""
        while self._waiting and len(self._live) < self.max_slots:
            generation = self._waiting[0]
            leader = self._leader(generation)
            if leader is None:
                prompt = generation.request.prompt
                shared = self._blocks.cached(prompt, generation.adapter)
                held = self._blocks.share(shared)
                needed = _blocks_of(len(prompt) + len(generation.answer) + 1) - len(held)
                if self._blocks.available() < needed:
                    self._blocks.release(held)
                    return
                generation.blocks = [*held, *self._blocks.take(needed)]
                generation.computed = len(held) * BLOCK
                generation.cached = generation.computed
            elif self._blocks.available() < 1:
                return
            else:
                leader.followers.append(generation)
            self._live.append(self._waiting.pop(0))

    def _leader(self, generation: Generation) -> Generation | None:
        """A request whose prompt is the same and not computed yet."""
        for live in self._live:
            same = live.adapter == generation.adapter and live.request.prompt == generation.request.prompt
            if same and live.blocks and live.computed < len(live.request.prompt):
                return live
        return None

    def _step(self) -> None:
        """Compute the next token of all that generate, and pieces of prompts."""
        plan: list[tuple[Generation, Slice]] = []
        room = _PROMPT_TOKENS
        for generation in list(self._live):
            if not generation.blocks:
                continue
            pending = generation.pending()
            if len(pending) > 1:
                if room <= 0:
                    continue
                # Whole blocks but for the end: what stands in a block must not depend on how prompts were cut.
                pending = pending[:room]
                room -= -(-len(pending) // BLOCK) * BLOCK
            end = generation.computed + len(pending)
            if not self._make_room(generation, _blocks_of(end)):
                continue
            blocks = generation.blocks[: _blocks_of(end)]
            plan.append((generation, Slice(pending, generation.computed, blocks, generation.adapter)))
        plan = [(generation, piece) for generation, piece in plan if generation.blocks]
        if not plan:
            return
        logits = self._model.step([piece for _, piece in plan])
        for (generation, piece), row in zip(plan, logits, strict=True):
            generation.computed += len(piece.tokens)
            if not generation.pending():
                self._finish_prompt(generation, row)
                self._advance(generation, row)

    def _make_room(self, generation: Generation, blocks: int) -> bool:
        """Have that many blocks for a request; the youngest others give way to it, and begin again later."""
        while len(generation.blocks) < blocks:
            if self._blocks.available():
                generation.blocks += self._blocks.take(1)
                continue
            youngest = next(each for each in reversed(self._live) if each.blocks)
            self._restart(youngest)
            if youngest is generation:
                return False
        return True

    def _restart(self, generation: Generation) -> None:
        """Take a request's blocks. It will be computed again as it was, so that its text stays what it was."""
        self._line_up([generation, *generation.followers])
        self._blocks.release(generation.blocks)
        generation.blocks, generation.followers, generation.computed = [], [], 0
        generation.replayed = 0

    def _finish_prompt(self, generation: Generation, row: NDArray[np.float32]) -> None:
        """When a prompt has just been computed: keep its blocks for others, and start those with the same one."""
        prompt = generation.request.prompt
        if generation.computed != len(prompt):
            return
        self._blocks.remember(prompt, generation.adapter, generation.blocks)
        whole = len(prompt) // BLOCK
        followers, generation.followers = generation.followers, []
        for follower in followers:
            if follower.request.cancelled:
                continue
            if len(prompt) % BLOCK and not self._blocks.available():
                self._line_up([follower])
                continue
            follower.blocks = self._blocks.share(generation.blocks[:whole])
            if len(prompt) % BLOCK:
                follower.blocks += self._blocks.take(1)
                self._model.copy_block(generation.blocks[whole], follower.blocks[-1])
            follower.computed = follower.cached = len(prompt)
            self._advance(follower, row)

    def _advance(self, generation: Generation, row: NDArray[np.float32]) -> None:
        """Sample the request's next token, and let go of it when that was its last."""
        if generation.take(row, self._ends, self._pieces):
            self._free(generation)

    @cached_property
    def _pieces(self) -> Sequence[bytes]:
        return self._tokenizer.pieces(self._vocabulary)

    def _fail_all(self) -> None:
        assert self._ended is not None
        while True:
            try:
                arrived = self._incoming.get_nowait()
            except queue.Empty:
                break
            if arrived is not None:
                self._waiting.append(Generation(*arrived))
        for generation in (*self._live, *self._waiting):
            # One for each: raising an error leaves its traceback on it.
            generation.request.deliver(BackendUnavailable(str(self._ended)))
        self._live, self._waiting = [], []


@dataclass(frozen=True, slots=True)
class AdaptedEngine:
    """An engine for requests of one adapter."""

    engine: OpenVinoEngine
    adapter: int

    @property
    def alive(self) -> bool:
        return self.engine.alive

    @property
    def constrains(self) -> bool:
        return self.engine.constrains

    def submit(self, asked: Sequence[Message] | str, sampling: Sampling, *, streamed: bool = True) -> Request:
        return self.engine.submit(asked, sampling, streamed=streamed, adapter=self.adapter)

    def close(self) -> None:
        """Close the engine, for all its adapters."""
        self.engine.close()


def _usual_threads(model: ConvertedModel) -> int | None:
    """One for a small model, whose steps are too short to be dealt out; every core for a large one."""
    return None if model.quantized else 1


def _blocks_of(tokens: int) -> int:
    return -(-tokens // BLOCK)
