"""No regular expression takes more than linear time on any text: strangers and models write what they run on."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import re._constants as sre  # type: ignore[import-untyped]
import re._parser as parser  # type: ignore[import-untyped]
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from spar_core.backends.openai.embeddings import read_embeddings
from spar_core.checks import build_check, verify
from spar_core.errors import BackendProtocol
from spar_core.plain_letters import plain_letters
from spar_core.prompts.neutral import neutralized
from spar_core.refiner import extract_refined
from spar_core.verdict import parse_verdict
from tests.support.checks import every_check as every_built_in_check
from tests.support.growth import LONG, READ, SHORT, super_linear

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = (ROOT / "spar_core", ROOT / "server" / "spar_server", ROOT / "training" / "spar_training")
FUNCTIONS: Final = frozenset({"compile", "search", "match", "fullmatch", "split", "findall", "finditer", "sub", "subn"})
CATEGORIES: Final = {
    sre.CATEGORY_SPACE: " \n",
    sre.CATEGORY_NOT_SPACE: "a-",
    sre.CATEGORY_DIGIT: "7",
    sre.CATEGORY_NOT_DIGIT: "a ",
    sre.CATEGORY_WORD: "a_",
    sre.CATEGORY_NOT_WORD: " .",
}
Use = tuple[str, re.Pattern[str]]


def uses() -> dict[str, Use]:
    """Every pattern of the packages by where it stands, and how it is run."""
    found: dict[str, Use] = {}
    for package in PACKAGES:
        for file in sorted(package.rglob("*.py")):
            tree = ast.parse(file.read_text("utf-8"))
            calls = [node for node in ast.walk(tree) if _calls_re(node)]
            place = str(file.relative_to(ROOT))
            for call in calls:
                pattern = call.args[0]
                if isinstance(pattern, ast.Constant) and isinstance(pattern.value, str) and call.func.attr != "compile":
                    found[f"{place}:{call.lineno}"] = (call.func.attr, re.compile(pattern.value, _flags(call)))
            if any(call.func.attr == "compile" for call in calls):
                module = importlib.import_module(str(file.relative_to(package.parent))[:-3].replace("/", "."))
                found |= {f"{place}:{name}": (_use(tree, name), value) for name, value in _patterns(vars(module))}
    return found


def _calls_re(node: ast.AST) -> Any:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and node.func.attr in FUNCTIONS
    )


def _use(tree: ast.AST, name: str) -> str:
    """How a module runs its pattern: at one place of a text, or as a search, which begins anew at every place."""
    methods = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
    }
    return min(methods) if methods and methods <= {"match", "fullmatch"} else "finditer"


def _flags(call: ast.Call) -> int:
    names = {node.attr for node in ast.walk(call) if isinstance(node, ast.Attribute) and node.attr.isupper()}
    return int(sum(getattr(re, name) for name in names))


def _patterns(names: dict[str, Any]) -> Iterator[Use]:
    for name, value in names.items():
        for number, each in enumerate(value.values() if isinstance(value, dict) else [value]):
            if isinstance(each, re.Pattern) and isinstance(each.pattern, str):
                yield f"{name}.{number}" if isinstance(value, dict) else name, each


def characters(pattern: re.Pattern[str]) -> list[str]:
    """The characters that a pattern names, and one or two of each class that it names."""
    found: dict[str, None] = {}

    def walk(node: Any) -> None:
        if isinstance(node, parser.SubPattern | list):
            for each in node:
                walk(each)
        elif isinstance(node, tuple):
            kind, value = (node[0], node[1]) if len(node) == 2 else (None, None)
            if kind in (sre.LITERAL, sre.NOT_LITERAL):
                found[chr(value)] = None
            elif kind is sre.RANGE:
                found.update(dict.fromkeys((chr(value[0]), chr(value[1]))))
            elif kind is sre.CATEGORY:
                found.update(dict.fromkeys(CATEGORIES.get(value, "a")))
            elif kind is sre.ANY:
                found["a"] = None
            else:
                for each in node:
                    walk(each)

    walk(parser.parse(pattern.pattern, pattern.flags))
    return list(found)


def literals(pattern: re.Pattern[str]) -> str:
    """A pattern's own characters in order: often the beginning of a match."""
    return "".join(character for character in characters(pattern) if not character.isspace())


def runner(how: str, pattern: re.Pattern[str]) -> Callable[[str], object]:
    if how in ("match", "fullmatch"):
        return getattr(pattern, how)  # type: ignore[no-any-return]
    return lambda text: deque(pattern.finditer(text), maxlen=0)


PATTERNS: Final = uses()


def test_the_patterns_are_found() -> None:
    assert len(PATTERNS) > 100
    assert {place.split("/")[0] for place in PATTERNS} == {"spar_core", "server", "training"}


@pytest.mark.parametrize("place", PATTERNS)
def test_a_pattern_takes_linear_time(place: str) -> None:
    how, pattern = PATTERNS[place]
    work = runner(how, pattern)
    own = characters(pattern)
    for one in own:
        found = super_linear(work, lambda length, one=one: one * length, LONG)
        assert not found, f"{pattern.pattern!r} on {one!r} repeated: {found}"
    begin = literals(pattern)
    texts: list[Callable[[int], str]] = []
    for one in own[:8]:
        texts += [
            lambda n, one=one: one * n + "\0",
            lambda n, one=one: begin + one * n + "\0",
            lambda n, one=one: begin[:1] + one * n + "\0",
            lambda n, one=one: f"{begin}{one}" * (n // (len(begin) + 1)),
        ]
    texts += [
        lambda n, pair=pair: "".join(pair) * (n // 2) + "\0" for pair in itertools.permutations([*own[:4], "\n"], 2)
    ]
    for text_of in texts:
        found = super_linear(work, text_of, SHORT)
        assert not found, f"{pattern.pattern!r} on {text_of(40)!r}...: {found}"


def embeddings(text: str) -> object:
    with suppress(BackendProtocol):
        return read_embeddings(text.encode(errors="replace"), 10_000)
    return None


def judgement(text: str) -> object:
    return parse_verdict(text, text)


def refinement(text: str) -> object:
    return extract_refined(text, text)


def every_check(text: str) -> object:
    return verify(CHECKS, text)


CHECKS: Final = [
    *every_built_in_check(),
    build_check("keywords:existence", {"keywords": ["a" * 500 + "b", "yes"]}),
    build_check("keywords:forbidden_words", {"forbidden_words": ["-a-" * 300 + "-", "*" * 500 + "!"]}),
    build_check("keywords:frequency", {"keyword": "a" * 500 + "b", "frequency": 1, "relation": "at least"}),
]
PARTS: Final = (
    " ", "\n", "a", "A", ".", "'", '"', "*", "-a-", "[", "<", ">", "&", "[[start]]", "[[start]]\n", "[[end]]\n",
    "[[start]]x[[end]]", "Final Judgement\n", "Final Judgement: ", "Final Judgement: x. ", "yes/no ", "yes ",
    ". ", "x. ", "`", "\u200b", "\u0430", "\ufdfa", "<<", "</response>", "<|", "P.", "Mr. ", "[1,", "! \"",
)  # fmt: skip


@pytest.mark.parametrize("reads", [judgement, refinement, neutralized, plain_letters, every_check, embeddings])
@pytest.mark.parametrize("part", PARTS)
def test_what_reads_text_from_outside_takes_linear_time(reads: Callable[[str], object], part: str) -> None:
    whole = super_linear(reads, lambda length: part * (length // len(part)), READ)
    headed = super_linear(reads, lambda length: f"Final Judgement: x{part * (length // len(part))}x", READ)
    assert not whole, f"{part!r} repeated: {whole}"
    assert not headed, f"a heading, and {part!r} repeated: {headed}"


def test_quadratic_work_is_noticed() -> None:
    spaces = re.compile(r"\s+x")
    assert super_linear(spaces.search, lambda length: " " * length, READ)
    assert not super_linear(lambda text: text.find("x"), lambda length: " " * length, LONG)
