"""One server for every client.

Only the openai client is in the development environment; `make test-clients` makes one that has them all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib.util import find_spec

import pytest

from spar_server.auth.keyring import sha256_of
from spar_server.settings import ApiKey, Settings
from tests.clients.obedient import obedient
from tests.support.pairs import scripted_pair

_OTHERS = ["test_examples.py", "test_langchain.py", "test_litellm.py", "test_llama_index.py", "test_node.py"]
# LiteLLM would fetch a list of prices when it is imported.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
collect_ignore = [] if find_spec("litellm") else _OTHERS
if not find_spec("anthropic"):
    collect_ignore.append("test_anthropic.py")


@pytest.fixture(scope="session")
def url(serving: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    """The base URL that clients are given."""
    with serving(scripted_pair(obedient())) as url:
        yield f"{url}/v1"


@pytest.fixture(scope="session")
def keyed_url(serving: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    """Of a server that asks for the key `secret`."""
    settings = Settings(keys=(ApiKey(name="client", sha256=sha256_of("secret")),))
    with serving(scripted_pair(), settings) as url:
        yield f"{url}/v1"
