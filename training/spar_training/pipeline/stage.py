"""What a stage is: a name, the model that it calls, and the work on one item.

A stage is a frozen value that can be pickled, so that the same stage runs in this process or on a cluster's workers.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeVar

from spar_core.backends.base import Backend
from spar_training.pipeline.runner import Item

Role = Literal["actor", "refiner"]
I_contra = TypeVar("I_contra", bound=Item, contravariant=True)


class Stage(Protocol[I_contra]):
    """Work on items of one kind by one model."""

    @property
    def name(self) -> str: ...

    @property
    def role(self) -> Role: ...

    async def work(self, item: I_contra, backend: Backend) -> dict[str, Any]:
        """The item's row, without its id.

        Raises:
            Failing: the item cannot be done.
            BackendError: a call failed; another try may do.
        """
        ...
