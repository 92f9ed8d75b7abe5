"""The check on the response's language."""

from __future__ import annotations

from typing import Any, Final

from spar_core.checks.base import Finding
from spar_core.checks.spec import CheckSpec, Kwargs, accepts
from spar_core.checks.text import language_of

# The languages that langdetect distinguishes, by its codes.
LANGUAGES: Final = {
    "af": "Afrikaans",
    "ar": "Arabic",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "ca": "Catalan",
    "cs": "Czech",
    "cy": "Welsh",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "gu": "Gujarati",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "kn": "Kannada",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mk": "Macedonian",
    "ml": "Malayalam",
    "mr": "Marathi",
    "ne": "Nepali",
    "nl": "Dutch",
    "no": "Norwegian",
    "pa": "Punjabi",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "so": "Somali",
    "sq": "Albanian",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "te": "Telugu",
    "th": "Thai",
    "tl": "Tagalog",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "zh-cn": "Chinese (simplified)",
    "zh-tw": "Chinese (traditional)",
}


def _language(response: str, kwargs: Kwargs) -> Finding:
    found = language_of(response)
    # As in IFEval, a text whose language cannot be detected passes.
    return Finding(found in (kwargs["language"], None), LANGUAGES.get(found or "", "no language detected"))


@accepts(type="string", enum=list(LANGUAGES), examples=["en"])
def _code(value: Any) -> str:
    if not isinstance(value, str) or value not in LANGUAGES:
        raise ValueError(f"one of the language codes {', '.join(LANGUAGES)}")
    return value


SPECS: Final = (
    CheckSpec(
        "language:response_language",
        lambda k: f"the whole response in {LANGUAGES[k['language']]}",
        _language,
        {"language": _code},
        passes=lambda _: 60,
    ),
)
