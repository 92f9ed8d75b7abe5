"""The executor that the command line names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from spar_core.errors import ConfigError
from spar_training.pipeline.executors.base import Executor
from spar_training.pipeline.executors.local import LocalExecutor


@contextmanager
def chosen_executor(name: str, *, ray_address: str | None, workers: int | None) -> Iterator[Executor]:
    """`local` or `ray`, ready for as long as the block runs.

    Raises:
        ConfigError: there is no such executor, it has no such setting, or its cluster cannot be had.
    """
    if name not in ("local", "ray"):
        raise ConfigError(f"--executor {name}: must be local or ray")
    if name == "ray":
        from spar_training.pipeline.executors.ray import ray_executor

        with ray_executor(address=ray_address, workers=workers) as executor:
            yield executor
        return
    if ray_address is not None or workers is not None:
        raise ConfigError("--ray-address, --workers: give them with --executor ray")
    yield LocalExecutor()
