"""What JSON's types are to a request: no text is taken for a number, and no number or text for a yes or no."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

Flag = Annotated[bool, Field(strict=True)]
# A whole number is one too.
Number = Annotated[float, Field(strict=True)]


def _no_other_type(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


# Of an integer: JSON does not tell 3.0 from 3, which being strict would. After its bounds, which OpenAPI then knows.
WHOLE: Final = BeforeValidator(_no_other_type)
Whole = Annotated[int, WHOLE]
Count = Annotated[int, Field(ge=1), WHOLE]
AtLeast0 = Annotated[int, Field(ge=0), WHOLE]
