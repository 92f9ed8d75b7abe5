"""The protocol of a stage: a name, the model it calls, and its work on one item.

A stage is a frozen value that can be pickled, so that it runs unchanged in this process or on a cluster's workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from spar_core.backends.base import Backend
from spar_training.pipeline.runner import Item
from spar_training.storage.files import Row

Role = Literal["actor", "refiner"]
I_contra = TypeVar("I_contra", bound=Item, contravariant=True)


class Stage(Protocol[I_contra]):
    """Work on items of one kind with one model; all that an executor needs."""

    name: ClassVar[str]
    # The model that `work` calls.
    role: ClassVar[Role]

    async def work(self, item: I_contra, backend: Backend) -> dict[str, Any]:
        """The item's row, without its id.

        Raises:
            ItemFailed: the item cannot be processed.
            BackendError: a call failed and may succeed when it is retried.
        """
        ...


class DataStage(Stage[I_contra], Protocol[I_contra]):
    """A stage that is a step of an iteration, listed in `steps.json` by its name."""

    # The recipe's key that this stage alone uses: it may change until the stage has started.
    key: ClassVar[str]
    # The name of the output file in the iteration's folder, such as `samples.jsonl`.
    file: ClassVar[str]

    def counts(self, rows: Sequence[Row]) -> dict[str, Any]:
        """The figures of the output for `steps.json`."""
        ...

    def problem(self, rows: Sequence[Row]) -> str | None:
        """Why the output as a whole is useless, with a fix; None if it is not."""
        ...

    def verdicts(self, row: Row) -> Sequence[bool]:
        """The accepted and rejected texts of a row, for the share shown as progress; none where nothing is judged."""
        ...
