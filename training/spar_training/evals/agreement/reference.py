"""The reference: the IFEval checker of lm-evaluation-harness, asked one instruction at a time."""

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

# Whether a response follows an instruction (id, kwargs, response, loose); None when the checker fails on it.
Reference = Callable[[str, Mapping[str, Any], str, bool], bool | None]

_PUNKT: Final = "nltk_data/tokenizers/punkt_tab.zip"


@contextmanager
def opened_reference(data: Path) -> Iterator[Reference]:
    """The checker, with NLTK's sentence model out of the data folder.

    Raises:
        ConfigError: the sentence model is not there.
    """
    import nltk

    with TemporaryDirectory() as folder:
        # It finds the model only unpacked; where it finds none it would download one.
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

    # Its language tests draw at random otherwise, and log what they cannot tell.
    DetectorFactory.seed = 0
    logging.getLogger("lm_eval.tasks.ifeval.instructions").setLevel(logging.CRITICAL)
    modes = {False: utils.test_instruction_following_strict, True: utils.test_instruction_following_loose}

    def follows(id: str, kwargs: Mapping[str, Any], response: str, loose: bool) -> bool | None:
        # It replaces what it does not take as a letter by one that it draws: the same one each time.
        random.seed(0)
        asked = utils.InputExample(key=0, instruction_id_list=[id], prompt="", kwargs=[dict(kwargs)])
        try:
            return bool(modes[loose](asked, response).follow_instruction_list[0])
        except RecursionError:
            # Deeply nested JSON is more than it can take.
            return None

    return follows
