"""One server for every client.

Only the openai client is in the development environment; `make test-clients` makes one that has them all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

import pytest

from spar_server.auth.keyring import sha256_of
from spar_server.settings import ApiKey, Settings
from tests.clients.obedient import obedient
from tests.support.pairs import scripted_pair

_OTHERS = [
    "test_examples.py",
    "test_langchain.py",
    "test_litellm.py",
    "test_llama_index.py",
    "test_node.py",
    "test_typescript.py",
]
_ROOT = Path(__file__).parents[2]
_NPM = ("npm", "--no-audit", "--no-fund")
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


@pytest.fixture(scope="session")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `clients/typescript`, at its place beside the reference, with the packages of its lock."""
    root = tmp_path_factory.mktemp("typescript")
    folder = root / "clients/typescript"
    shutil.copytree(_ROOT / "clients/typescript", folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    (root / "docs/reference").mkdir(parents=True)
    shutil.copy(_ROOT / "docs/reference/openapi.json", root / "docs/reference")
    subprocess.run([*_NPM, "ci"], cwd=folder, check=True, timeout=900)
    return folder


@pytest.fixture(scope="session")
def node(typescript: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tests of `node/`, the examples for Node and the packages of both, ours as npm would ship it."""
    folder = tmp_path_factory.mktemp("clients") / "node"
    shutil.copytree(_ROOT / "tests/clients/node", folder, ignore=shutil.ignore_patterns("node_modules"))
    for example in (_ROOT / "clients/examples").glob("*.mjs"):
        shutil.copy(example, folder)
    subprocess.run([*_NPM, "pack", "--pack-destination", folder], cwd=typescript, check=True, timeout=300)
    subprocess.run([*_NPM, "ci"], cwd=folder, check=True, timeout=900)
    [package] = folder.glob("spar-client-*.tgz")
    subprocess.run([*_NPM, "install", "--no-save", package], cwd=folder, check=True, timeout=300)
    return folder
