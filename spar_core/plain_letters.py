"""Reduce a text to plain letters, to find wording that is disguised to get past a parser."""

from __future__ import annotations

import html
import re
from typing import Final

from spar_core.unicode import normal_pieces

# Letters that look like a Latin one according to Unicode's confusables, and those that NFKD does not fold: small
# capitals, strokes, hooks. Case is folded after replacing them, because look-alikes depend on case (Н is an H, н not).
_LOOK_ALIKES: Final = {
    "a": "аАΑαɑᴀᎪᗅꓮɐ⍺",
    "b": "ВΒвʙᏴᗷꓐЬƄ",
    "c": "сСϲϹᴄⅭᏟꓚ",
    "d": "ԁᴅᎠᗞꓓđĐԀɗ",
    "e": "еЕΕεєЄᴇᎬꓰɛҽǝəℯ",
    "f": "ꜰϜƒꓝᖴẝſ",
    "g": "ɡɢԌԍᏀꓖցǥǤ",
    "h": "НΗнһʜᎻᕼꓧհ",
    "i": "іІΙιıɪӀᎥꓲɩ∣ǀ׀ⵏlLʟᏞ",
    "j": "јЈϳᴊᎫᒍꓙյʝ",
    "k": "кКΚκᴋᏦꓗ",
    "m": "мМΜϺᴍᎷᗰꓟ",
    "n": "пПΝᴎɴոռηꓠŋ",
    "o": "оОΟοσօՕᴏⲟⲞꓳøØ௦०০੦",
    "p": "рРΡρᴘᏢᑭꓑ",
    "r": "гЯяʀᎡᖇꓣɾ",
    "s": "ѕЅꜱՏᏚꓢʂ",
    "t": "тТΤτᴛᎢꓔŧŦ",
    "u": "υսᴜՍᑌꓴʋцµ",
    "v": "νѵѴᴠᏙꓦ",
    "x": "хХΧχᕁꓫ",
    "y": "уУΥγүҮʏᎩꓬყ",
    "z": "ΖᴢᏃꓜƶ",
}
_LATIN: Final = {ord(char): letter for letter, chars in _LOOK_ALIKES.items() for char in chars}
_LEET: Final = bytes.maketrans(b"013457@$|!", b"oieastasii")
_NO_LETTERS: Final = bytes(code for code in range(128) if not chr(code).isalpha())
_PIECE: Final = 64 * 1024
_TAG: Final = re.compile(r"<[^<>]{0,200}>")


def plain_letters(text: str, *, digits: bool = False) -> str:
    """The lowercase ASCII letters of `text` without everything between them.

    Accents, look-alike letters, invisible characters, entities and tags are folded; `i`, `l` and their look-alikes are
    all `i`, and `rn` is `m`. With `digits`, digits and signs that stand for letters ("F1nal") count as those letters.
    Takes time linear in the length of `text`.

        >>> plain_letters("**Fin\u200bаl** Judgement: Yes")
        'finaijudgementyes'
    """
    if "&" in text:
        text = _without_entities(text)
    if "<" in text:
        text = _TAG.sub("", text)
    if not text.isascii():
        text = "".join(piece.translate(_LATIN) for piece in normal_pieces(text, "NFKD"))
    raw = text.encode("ascii", "ignore")
    if digits:
        raw = raw.translate(_LEET)
    return raw.translate(None, _NO_LETTERS).decode().lower().replace("l", "i").replace("rn", "m")


def _without_entities(text: str) -> str:
    """Replace HTML entities; in pieces, because a text full of entities takes much memory."""
    pieces: list[str] = []
    start = 0
    while start < len(text):
        # Pieces end before an entity.
        end = text.find("&", start + _PIECE)
        end = len(text) if end < 0 else end
        pieces.append(html.unescape(text[start:end]))
        start = end
    return "".join(pieces)
