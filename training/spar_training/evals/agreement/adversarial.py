"""Responses built for an instruction: some follow it, some do not, some lie at its threshold, and some are odd.

Each is a text in one of many languages and formats with the instruction's subject in it too often, too rarely or just
often enough. Which of them follow the instruction is left to the two checkers.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

Kwargs = Mapping[str, Any]
Maker = Callable[[Kwargs, random.Random], str]

# A few sentences each: enough for language detection.
BODIES: Final = (
    "The old river runs past the quiet mill. People walk there every evening, and Dr. Hill feeds the ducks. Why not?",
    'We met at 5 p.m. in the U.S. Embassy; it cost $3.50, i.e. less than I feared. She said: "No!" Then they left...',
    "Der alte Fluss fließt am Mühlrad vorbei. Jeden Abend gehen die Leute dort spazieren, und z. B. Herr Müller auch.",
    "La vieille rivière coule près du moulin. Chaque soir, les gens s'y promènent ; n'est-ce pas merveilleux ?",
    "El viejo río pasa junto al molino. ¿Por qué no vienes mañana? ¡Sería una tarde muy bonita para todos!",
    "Старая река течёт мимо мельницы. Каждый вечер люди гуляют вдоль неё, и это очень красиво.",
    "这条古老的河流经过安静的磨坊。每天晚上，人们都沿着它散步。你想一起来吗？",
    "古い川が静かな水車小屋のそばを流れています。毎晩、人々はその川に沿って歩きます。",
    "يجري النهر القديم بجانب الطاحونة الهادئة. كل مساء يمشي الناس على طوله، وهذا جميل جدا.",
    "पुरानी नदी शांत चक्की के पास से बहती है। हर शाम लोग उसके किनारे टहलते हैं।",
    "오래된 강은 조용한 방앗간을 지나 흐릅니다. 매일 저녁 사람들이 그 강을 따라 걷습니다.",
    "பழைய ஆறு அமைதியான ஆலையைக் கடந்து ஓடுகிறது. ஒவ்வொரு மாலையும் மக்கள் அதன் கரையில் நடக்கிறார்கள்.",
    "แม่น้ำสายเก่าไหลผ่านโรงสีอันเงียบสงบ ทุกเย็นผู้คนเดินเล่นริมน้ำ",
    "הנהר הישן זורם ליד הטחנה השקטה. בכל ערב אנשים הולכים לאורכו, וזה יפה מאוד.",
    "Το παλιό ποτάμι κυλά δίπλα στον ήσυχο μύλο. Κάθε βράδυ ο κόσμος περπατά εκεί· δεν είναι όμορφο;",
    "Il vecchio fiume scorre accanto al mulino. Ogni sera la gente ci passeggia, e il signor Rossi pure.",
    "# Title\n\n* first point\n* second point\n\n1. one\n2. two\n\n**bold** and *italic*, `code` and [a link](http://x.y).",
    "NASA AND THE FBI MET IN WASHINGTON D.C. ON MONDAY. I'M SURE THEY CANNOT AGREE, SAID JOE'S FRIEND.",
    "it was late. the lamp was out. nobody said a word, and the e.g. in the text was wrong.",
    "🎉🎉 Yes!! 🎉 So fun 😀.",
    "```python\ndef add(a, b):\n    # sum\n    return a + b\n```",
    '{"answer": "yes", "items": [1, 2, {"deep": null}]}',
    'Mr. and Mrs. Smith went to St. Louis. "Is it far?" he asked. J. R. Miller vs. the state, No. 5, p. 7.',
    "12 34 56. 7!",
    "One\r\nTwo\r\n\r\nThree.\r\n",
)
ODD: Final = (
    "",
    " ",
    "\n",
    "\t\n \n",
    ".",
    "...",
    "?!",
    "*",
    "**",
    "***",
    "******",
    "[]",
    '"',
    '""',
    "<<>>",
    "-",
    "\u00a0",
    "\u200b",
    "🎉",
)


def responses(id: str, kwargs: Kwargs, rng: random.Random, count: int) -> list[str]:
    """Build `count` responses that test an instruction."""
    maker = _MAKERS.get(id, _plain)
    return [
        _vary(maker(kwargs, rng) if rng.random() < 0.85 else rng.choice((*ODD, *BODIES)), rng) for _ in range(count)
    ]


def _vary(text: str, rng: random.Random) -> str:
    """Return the text unchanged, or decorated as chat models and editors do."""
    match rng.randrange(12):
        case 0:
            return f"Sure, here you are:\n\n{text}"
        case 1:
            return f"{text}\n\nLet me know if you need more."
        case 2:
            return f"**Answer**\n{text}\n*End*"
        case 3:
            return text.replace("\n", "\r\n")
        case 4:
            return f"  {text}\n\n"
        case _:
            return text


def _body(rng: random.Random, sentences: int = 2) -> str:
    return rng.choice((" ", "\n", "\n\n")).join(rng.choice(BODIES) for _ in range(rng.randint(1, sentences)))


def _plain(kwargs: Kwargs, rng: random.Random) -> str:
    return _body(rng, 3)


def _near(number: int, rng: random.Random) -> int:
    """Draw a count at or near a threshold."""
    return max(0, number + rng.choice((-2, -1, -1, 0, 0, 0, 0, 1, 1, 2)))


def _scatter(pieces: list[str], rng: random.Random, between: tuple[str, ...] = (" ", "\n", "\n\n", ", ", ". ")) -> str:
    """Scatter the pieces among the words of a body."""
    words = _body(rng).split(" ")
    for piece in pieces:
        words.insert(rng.randint(0, len(words)), piece + rng.choice(("", "", *between)))
    return " ".join(words)


def _change_case(word: str, rng: random.Random) -> str:
    return rng.choice((word, word, word.upper(), word.title(), f"{word}s", f"un{word}", f"{word}.", f"'{word}'"))


def _keywords(kwargs: Kwargs, rng: random.Random) -> str:
    words = kwargs.get("keywords") or kwargs["forbidden_words"]
    return _scatter([_change_case(word, rng) for word in words if rng.random() < 0.75], rng)


def _frequency(kwargs: Kwargs, rng: random.Random) -> str:
    return _scatter([_change_case(kwargs["keyword"], rng) for _ in range(_near(int(kwargs["frequency"]), rng))], rng)


def _letters(kwargs: Kwargs, rng: random.Random) -> str:
    letter = kwargs["letter"]
    return "x " * rng.randint(0, 3) + " ".join(
        rng.choice((letter, letter.upper())) for _ in range(_near(int(kwargs["let_frequency"]), rng))
    )


def _words(kwargs: Kwargs, rng: random.Random) -> str:
    pool = (
        "river", "it's", "e-mail", "3.5", "Müller", "nai\u0308ve", "and/or", "word,", "(well)", "x_y", "日本", "end.",
        "नदी", "சக்கரம்", "ที่นี่", "שָׁלוֹם", "كِتَاب", "می\u200cروم", "½", "x²", "Ⅷ", "Ⓐ", "№5", "👩\u200d🚀", "a‿b", "١٢",
    )  # fmt: skip
    return " ".join(rng.choice(pool) for _ in range(_near(int(kwargs["num_words"]), rng)))


def _sentences(kwargs: Kwargs, rng: random.Random) -> str:
    pool = (
        "The lamp is old.", "Why?", "No!", "Dr. Hill came at 5 p.m. on Monday.", "It cost 3.5 dollars.", 'Say "stop."',
        "In the U.S. it rained.", "They left (at last).", "Well... maybe.", "J. Smith wrote it.", "See p. 7, fig. 2.",
        "1. Peel it.", "- a point", "* Another point.", "Yes, e.g. this one.", "Wait — what?!", "It ended at No. 10.",
    )  # fmt: skip
    count = _near(int(kwargs["num_sentences"]), rng)
    return rng.choice((" ", " ", "\n")).join(rng.choice(pool) for _ in range(count))


def _paragraphs(kwargs: Kwargs, rng: random.Random) -> str:
    blocks = [rng.choice(BODIES) for _ in range(_near(int(kwargs["num_paragraphs"]), rng))]
    divider = rng.choice(("\n***\n", "\n\n***\n\n", "***", " *** ", "\n\n", "\n* * *\n", "\n***\n***\n"))
    return rng.choice(("", "", "***\n")) + divider.join(blocks) + rng.choice(("", "", "\n***"))


def _first_word(kwargs: Kwargs, rng: random.Random) -> str:
    word, nth = str(kwargs["first_word"]), int(kwargs["nth_paragraph"])
    blocks = [rng.choice(BODIES) for _ in range(_near(int(kwargs["num_paragraphs"]), rng))]
    if nth <= len(blocks) and rng.random() < 0.8:
        starts = (
            word,
            word.title(),
            f'"{word}"',
            f"'{word}",
            f"{word},",
            f"**{word}**",
            f"{word}!",
            f"{word}s",
            f"\n{word}",
        )
        blocks[nth - 1] = f"{rng.choice(starts)} {blocks[nth - 1]}"
    return rng.choice((*["\n\n"] * 6, "\n\n\n", "\n", "\n\n\n\n")).join(blocks)


def _placeholders(kwargs: Kwargs, rng: random.Random) -> str:
    pool = ("[name]", "[street address]", "[]", "[a [b]", "[x\ny]", "[1]", "[link](http://x)", "[ ]", "]", "[")
    return _scatter([rng.choice(pool) for _ in range(_near(int(kwargs["num_placeholders"]) + 1, rng))], rng)


def _postscript(kwargs: Kwargs, rng: random.Random) -> str:
    marker = kwargs["postscript_marker"]
    forms = (
        marker,
        marker.lower(),
        marker.replace(".", ". "),
        marker.replace(".", ""),
        "PS:",
        "P.S",
        "P.P.S.",
        "p. p. s.",
        "",
    )
    return f"{_body(rng)}\n\n{rng.choice(forms)} Write soon."


def _bullets(kwargs: Kwargs, rng: random.Random) -> str:
    marks = ("* ", "- ", "  * ", "\t- ", "*", "** ", "-", "• ", "1. ", "+ ", "*\n", "--- ", "*a* ")
    usual = rng.choice(marks)
    lines = [
        f"{usual if rng.random() < 0.85 else rng.choice(marks)}{rng.choice(('one', 'two, three', '**bold**: x', ''))}"
        for _ in range(_near(int(kwargs["num_bullets"]), rng))
    ]
    return rng.choice(("", "List:\n", "List:\n\n")) + rng.choice(("\n", "\n", "\n\n")).join(lines)


def _highlights(kwargs: Kwargs, rng: random.Random) -> str:
    pool = ("*one*", "**two words**", "*a*b*", "** **", "*x\ny*", "***both***", "* spaced *", "**", "*", "__no__")
    return _scatter([rng.choice(pool) for _ in range(_near(int(kwargs["num_highlights"]), rng))], rng)


def _title(kwargs: Kwargs, rng: random.Random) -> str:
    titles = (
        "<<The River>>",
        "<< >>",
        "<<>>",
        "<The River>",
        "<<a\nb>>",
        "<<a>> <<b>>",
        "<<<x>>>",
        "# The River",
        "x << y >> z",
        "<<a>b>>",
    )
    return f"{rng.choice(('', 'Here: '))}{rng.choice(titles)}\n\n{_body(rng)}"


def _sections(kwargs: Kwargs, rng: random.Random) -> str:
    word, count = kwargs["section_spliter"], _near(int(kwargs["num_sections"]), rng)
    form = rng.choice(("{} {}", "{} {}", "{}{}", "{}: {}", "**{} {}**", "{}  {}", "{}\n{}"))
    spelled = rng.choice((word, word, word, word.upper(), word.lower(), word.title()))
    return "\n\n".join(f"{form.format(spelled, number)}\n{rng.choice(BODIES)}" for number in range(1, count + 1))


def _json(kwargs: Kwargs, rng: random.Random) -> str:
    value: dict[str, Any] = {"name": rng.choice(BODIES), "list": [1, 2.5, None, True], "inner": {"a": {}}}
    texts = (
        json.dumps(value),
        json.dumps(value, indent=2, ensure_ascii=False),
        "[]",
        "null",
        "12",
        '"text"',
        "{'a': 1}",
        '{"a": 1,}',
        "NaN",
        "{}",
    )
    form = rng.choice(
        ("{}", "{}", "```json\n{}\n```", "```\n{}\n```", "```JSON\n{}```", "Here:\n{}", "{}\nDone.", "~~~\n{}\n~~~")
    )
    return form.replace("{}", rng.choice(texts), 1)


def _fixed(kwargs: Kwargs, rng: random.Random) -> str:
    answers = (
        "My answer is yes.",
        "My answer is no.",
        "My answer is maybe.",
        "my answer is yes.",
        "My answer is yes",
        "My answer is: no.",
        "Yes.",
    )
    return rng.choice(("", f"{rng.choice(BODIES)} ")) + rng.choice(answers) + rng.choice(("", " Because."))


def _case(kwargs: Kwargs, rng: random.Random) -> str:
    change = rng.choice((str.upper, str.lower, str.title, str.swapcase, str))
    return change(_body(rng)) + rng.choice(("", "", "", "ß", "É", " 12", " İ", "ǅ"))


def _capitals(kwargs: Kwargs, rng: random.Random) -> str:
    pool = (
        "NASA",
        "I",
        "A-B",
        "U.S.A.",
        "I'M",
        "CANNOT",
        "JOE's",
        "X1",
        "Ⅷ",
        "ÜBER",
        "(FBI)",
        '"NO"',
        "N'T",
        "3D",
        "A.",
        "#TAG",
        "E=MC2",
        "GONNA",
        "O'NEIL",
    )
    return _scatter([rng.choice(pool) for _ in range(_near(int(kwargs["capital_frequency"]), rng))], rng)


def _comma(kwargs: Kwargs, rng: random.Random) -> str:
    return _body(rng).replace(",", rng.choice((",", "", "，", "، ", ";", "‚")))


def _ending(kwargs: Kwargs, rng: random.Random) -> str:
    phrase = str(kwargs["end_phrase"])
    forms = (
        phrase,
        phrase.upper(),
        f'"{phrase}"',
        f"{phrase} ",
        f"{phrase}.",
        f"{phrase}\n\nBye",
        f"**{phrase}**",
        phrase[:-1],
        f'{phrase}""',
        f"“{phrase}”",
    )
    return f"{_body(rng)} {rng.choice(forms)}"


def _quotation(kwargs: Kwargs, rng: random.Random) -> str:
    opening, closing = rng.choice(
        (('"', '"'), ('"', '"'), ("“", "”"), ("'", "'"), ('"', ""), ("", '"'), ('""', '""'), (' "', '" '))
    )
    return f"{opening}{_body(rng)}{closing}"


def _two(kwargs: Kwargs, rng: random.Random) -> str:
    one, two = rng.choice(BODIES), rng.choice(BODIES)
    divider = rng.choice(
        ("\n******\n", "******", "\n\n******\n\n", "\n*****\n", "\n*******\n", "******\n******", "\n************\n")
    )
    return rng.choice(
        (
            f"{one}{divider}{two}",
            f"{one}{divider}{one} ",
            f"{divider}{one}{divider}{two}{divider}",
            one,
            f"{one}{divider}",
        )
    )


def _repeat(kwargs: Kwargs, rng: random.Random) -> str:
    prompt = str(kwargs["prompt_to_repeat"])
    forms = (
        prompt,
        prompt,
        prompt.upper(),
        f"  {prompt}",
        f'"{prompt}"',
        prompt[:-1],
        prompt.replace(".", "", 1),
        f"Request: {prompt}",
        prompt.replace(" ", "  ", 1),
    )
    return f"{rng.choice(forms)}{rng.choice((' ', chr(10), chr(10) * 2))}{_body(rng)}"


_MAKERS: Final[dict[str, Maker]] = {
    "keywords:existence": _keywords,
    "keywords:forbidden_words": _keywords,
    "keywords:frequency": _frequency,
    "keywords:letter_frequency": _letters,
    "length_constraints:number_words": _words,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:number_highlighted_sections": _highlights,
    "detectable_format:title": _title,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:constrained_response": _fixed,
    "change_case:english_lowercase": _case,
    "change_case:english_capital": _case,
    "change_case:capital_word_frequency": _capitals,
    "punctuation:no_comma": _comma,
    "startend:end_checker": _ending,
    "startend:quotation": _quotation,
    "combination:two_responses": _two,
    "combination:repeat_prompt": _repeat,
}
