"""What is wrong with values that were read, in one sentence."""

from __future__ import annotations

from pydantic import ValidationError


def told(error: ValidationError, *, whole: str) -> str:
    """Each problem with the key that it is at; `whole` names the values where they are wrong as a whole."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or whole}: {item['msg'].removeprefix('Value error, ')}"
        for item in error.errors()
    )
