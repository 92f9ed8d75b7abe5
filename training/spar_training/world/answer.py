"""An answer of the world as a structure, so that one small edit can meet or break a constraint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Case = Literal["normal", "lower", "upper"]


@dataclass(frozen=True, slots=True)
class Answer:
    """`paragraphs` hold sentences; with `bullets` every sentence is one bullet point.

    `ending` is the closing phrase and `postscript` the sentence after `P.S.`; None means absent.
    """

    paragraphs: tuple[tuple[str, ...], ...]
    title: str | None = None
    bullets: bool = False
    ending: str | None = None
    postscript: str | None = None
    quotes: Literal["none", "both", "open", "close"] = "none"
    case: Case = "normal"

    @property
    def sentences(self) -> tuple[str, ...]:
        return tuple(sentence for paragraph in self.paragraphs for sentence in paragraph)

    def with_sentences(self, sentences: tuple[str, ...]) -> Answer:
        """Return the answer with other sentences in the same number of paragraphs.

        Every paragraph but the last keeps its length; the last takes the rest.
        """
        paragraphs: list[tuple[str, ...]] = []
        rest = sentences
        for paragraph in self.paragraphs[:-1]:
            size = max(1, min(len(paragraph), len(rest) - 1))
            paragraphs.append(rest[:size])
            rest = rest[size:]
        paragraphs.append(rest)
        return replace(self, paragraphs=tuple(p for p in paragraphs if p))

    def render(self) -> str:
        blocks = [
            "\n".join(f"* {sentence}" for sentence in paragraph) if self.bullets else " ".join(paragraph)
            for paragraph in self.paragraphs
        ]
        body = "\n***\n".join(blocks)
        if self.title is not None:
            body = f"<<{self.title}>>\n{body}"
        if self.ending is not None:
            body = f"{body}\n{self.ending}" if self.bullets else f"{body} {self.ending}"
        if self.postscript is not None:
            body = f"{body}\nP.S. {self.postscript}"
        body = {"normal": body, "lower": body.lower(), "upper": body.upper()}[self.case]
        opening = '"' if self.quotes in ("both", "open") else ""
        closing = '"' if self.quotes in ("both", "close") else ""
        return f"{opening}{body}{closing}"
