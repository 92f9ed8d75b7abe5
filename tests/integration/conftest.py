"""The embedded pair, served, and the official client for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import openai
import pytest

from spar_core.model_folder import TINY_PAIR
from spar_server.models.pair import build_pair
from spar_server.settings import Settings


@pytest.fixture(scope="session")
def embedded_url(serving: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    with serving(build_pair(Settings(pair=TINY_PAIR))) as url:
        yield f"{url}/v1"


@pytest.fixture
def client(embedded_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=embedded_url, api_key="none", max_retries=0) as client:
        yield client
