"""The reference: the IFEval checker of lm-evaluation-harness, called one instruction at a time."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from zipfile import ZipFile

from spar_training.evals.datasets import data_file

# Whether a response follows an instruction (id, kwargs, response, loose); None if the checker fails on it.
Reference = Callable[[str, Mapping[str, Any], str, bool], bool | None]

_PUNKT: Final = "nltk_data/tokenizers/punkt_tab.zip"


@contextmanager
def open_reference(data: Path) -> Iterator[Reference]:
    """Set up the checker, with NLTK's sentence model from the data folder.

    Raises:
        ConfigError: the sentence model is missing.
    """
    import nltk

    with TemporaryDirectory() as folder:
        # NLTK needs the model unpacked, and would download one if it found none.
        with ZipFile(data_file(data, _PUNKT)) as packed:
            packed.extractall(Path(folder) / "tokenizers")
        nltk.data.path.insert(0, folder)
        try:
            yield _reference()
        finally:
            nltk.data.path.remove(folder)


def _reference() -> Reference:
    from langdetect import DetectorFactory
    from lm_eval.tasks.ifeval import utils

    # Language detection is random by default, and logs what it cannot detect.
    DetectorFactory.seed = 0
    logging.getLogger("lm_eval.tasks.ifeval.instructions").setLevel(logging.CRITICAL)
    modes = {False: utils.test_instruction_following_strict, True: utils.test_instruction_following_loose}

    def follows(id: str, kwargs: Mapping[str, Any], response: str, loose: bool) -> bool | None:
        # The checker replaces a character that is not a letter by a random letter: the same one each time.
        random.seed(0)
        example = utils.InputExample(key=0, instruction_id_list=[id], prompt="", kwargs=[dict(kwargs)])
        try:
            return bool(modes[loose](example, response).follow_instruction_list[0])
        except RecursionError:
            # Deeply nested JSON exceeds its recursion limit.
            return None

    return follows
