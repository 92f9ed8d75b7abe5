"""The framework's complaints about a request, by the field as the client wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from spar_server.errors import ApiError

# Which of a field's types was tried: no part of the field's name.
_TYPE: Final = re.compile(r"(str|int|float|bool|none)$|(list|dict|constrained|nullable|function|literal)[\[-]")


def invalid_request(problems: Sequence[Mapping[str, Any]]) -> ApiError:
    """The first complaint; of a field that may have several types, what each would take."""
    first = problems[0]
    field = _field(first)
    if first["type"] == "extra_forbidden":
        message = f"{field}: unknown key; the keys that there are stand at /docs"
    else:
        wanted = dict.fromkeys(str(problem["msg"]) for problem in problems if _field(problem) == field)
        message = f"{field or 'body'}: {', or '.join(wanted)}"
    return ApiError(400, message, param=field or None, code="invalid_value")


def _field(problem: Mapping[str, Any]) -> str:
    place = problem["loc"][1:] if problem["loc"][:1] in (("body",), ("query",), ("path",)) else problem["loc"]
    return ".".join(str(part) for part in place if not _TYPE.match(str(part)))
