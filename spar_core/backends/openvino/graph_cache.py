"""Models converted once: building a graph takes seconds, reading a saved one takes less than one."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import openvino as ov

from spar_core.backends.openvino.graph import build_graph
from spar_core.backends.openvino.source import open_source
from spar_core.cache_folder import cache_folder
from spar_core.errors import ConfigError

logger = logging.getLogger(__name__)

# What is saved changes its meaning with this.
_FORMAT: Final = 3
# Elements of a model's matrices below which eight bits would save nothing that counts.
_SMALL_MODEL: Final = 30_000_000
# Conversions that stay, those that were used last.
_KEPT: Final = 8


@dataclass(frozen=True, slots=True)
class ConvertedModel:
    """A graph, and what goes with it."""

    graph: ov.Model
    tokenizer: str
    template: str | None
    template_tokens: dict[str, str]
    end_tokens: tuple[int, ...]
    context: int
    vocabulary: int
    quantized: bool


def load_converted(model: Path) -> ConvertedModel:
    """A GGUF file or a model's folder as a graph, from the cache folder or converted into it.

    Where the cache folder cannot be written, it is converted every time.

    Raises:
        ConfigError: there is no model, or one that this engine cannot run.
    """
    folder = cache_folder() / "openvino" / _key(model)
    if not folder.is_dir():
        converted = _convert(model)
        try:
            _save(converted, folder)
        except OSError as error:
            logger.warning("%s cannot be written (%s): the model will be converted again at every start", folder, error)
        return converted
    try:
        about: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        graph = ov.Core().read_model(folder / "graph.xml")
        with suppress(OSError):
            os.utime(folder)
        return ConvertedModel(graph, **{**about, "end_tokens": tuple(about["end_tokens"])})
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        logger.warning("%s is damaged (%s); converting the model again", folder, error)
        shutil.rmtree(folder, ignore_errors=True)
        return load_converted(model)


def _convert(model: Path) -> ConvertedModel:
    source = open_source(model)
    quantized = source.shape.elements >= _SMALL_MODEL
    return ConvertedModel(
        graph=build_graph(source, quantize=quantized),
        tokenizer=source.tokenizer_json(),
        template=source.chat_template(),
        template_tokens=dict(source.template_tokens()),
        end_tokens=source.end_tokens(),
        context=source.shape.context,
        vocabulary=source.shape.vocabulary,
        quantized=quantized,
    )


def _save(converted: ConvertedModel, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    about = {name: getattr(converted, name) for name in converted.__slots__ if name != "graph"}
    made = Path(mkdtemp(dir=folder.parent, prefix=".unfinished-"))
    try:
        ov.save_model(converted.graph, made / "graph.xml", compress_to_fp16=False)
        (made / "model.json").write_text(json.dumps(about), encoding="utf-8")
        # Another process may have been quicker; its result is as good.
        with suppress(OSError):
            made.rename(folder)
        _forget_old(folder.parent)
    except RuntimeError as error:
        # How OpenVINO tells of a full disk.
        raise OSError(str(error)) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _forget_old(cache: Path) -> None:
    """A training makes many models, each of which is run for a while and then no more."""
    with suppress(OSError):
        made = sorted((each for each in cache.iterdir() if each.name[0] != "."), key=lambda each: each.stat().st_mtime)
        for folder in made[:-_KEPT]:
            shutil.rmtree(folder, ignore_errors=True)


def _key(model: Path) -> str:
    """Changes with the model's files and with what is made of them."""
    files = [model] if model.is_file() else sorted(each for each in model.glob("*") if each.is_file())
    if not files:
        raise ConfigError(f"{model}: no model here; give a folder with config.json, or a .gguf file")
    digest = hashlib.sha256(f"{_FORMAT} {ov.__version__}".encode())
    for file in files:
        about = os.stat(file)
        digest.update(f"\0{file.resolve()}\0{about.st_size}\0{about.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]
