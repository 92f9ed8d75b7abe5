"""The check on the response's language."""

from __future__ import annotations

from typing import Final

from spar_core.checks.base import Finding
from spar_core.checks.spec import CheckSpec, Kwargs, text
from spar_core.checks.text import language_of


def _language(response: str, kwargs: Kwargs) -> Finding:
    found = language_of(response)
    return Finding(found in (kwargs["language"], None), f"language {found or 'unknown'}")


SPECS: Final = (
    CheckSpec(
        "language:response_language",
        lambda k: f"the whole response in the language {k['language']}",
        _language,
        {"language": text},
    ),
)
