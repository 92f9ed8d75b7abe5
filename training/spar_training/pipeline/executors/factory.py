"""Choose the executor named on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from spar_core.errors import ConfigError
from spar_training.pipeline.executors.base import Executor
from spar_training.pipeline.executors.local import LocalExecutor


@contextmanager
def open_executor(name: str, *, ray_address: str | None, workers: int | None) -> Iterator[Executor]:
    """`local` or `ray`, connected to its cluster while the block runs.

    Raises:
        ConfigError: there is no such executor, it does not take one of the settings, or its cluster is out of reach.
    """
    if name not in ("local", "ray"):
        raise ConfigError(f"--executor {name}: must be local or ray")
    if name == "ray":
        from spar_training.pipeline.executors.ray import ray_executor

        with ray_executor(address=ray_address, workers=workers) as executor:
            yield executor
        return
    if ray_address is not None or workers is not None:
        raise ConfigError("--ray-address, --workers: these need --executor ray")
    yield LocalExecutor()
