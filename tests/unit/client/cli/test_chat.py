"""`spar chat`: into a pipe, on a terminal, and against text that would like to control one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from spar_client.cli.screen import word_diff
from spar_core.backends.scripted import always
from tests.support.pairs import scripted_pair
from tests.support.terminal import on_a_terminal, plain, spar

Serving = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="module")
def url(serving: Serving) -> Iterator[str]:
    with serving(scripted_pair()) as url:
        yield url


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment whose history of questions is the test's own."""
    return {"XDG_STATE_HOME": str(tmp_path)}


@pytest.mark.parametrize(("budget", "answer"), [("3", "better answer\n"), ("0", "a plain draft\n")])
def test_into_a_pipe_goes_the_answer_and_nothing_else(url: str, budget: str, answer: str) -> None:
    done = spar("chat", "--url", url, "--once", "Hi there", "-b", budget)
    assert (done.returncode, done.stdout) == (0, answer)
    assert ("Judged draft: rejected" in done.stderr) == (budget == "3")
    assert "nodes" in done.stderr


def test_a_pipe_is_one_question_of_any_number_of_lines(serving: Serving) -> None:
    with serving(scripted_pair(lambda messages, _: f"{len(messages)}: {messages[-1].text}")) as url:
        done = spar("chat", "--url", url, "-b", "0", said="Translate:\n\none\ntwo\n")
    assert (done.returncode, done.stdout) == (0, "1: Translate:\n\none\ntwo\n")


@pytest.mark.parametrize(
    ("words", "said", "code", "says"),
    [
        (("--url", "http://127.0.0.1:9", "--once", "hi"), "", 1, "start one with `spar serve`"),
        (("--url", "127.0.0.1:8000", "--once", "hi"), "", 2, "127.0.0.1:8000: must be an address such as"),
        (("--url", "http://127.0.0.1:99999", "--once", "hi"), "", 2, "must be an address such as"),
        (("--url", "http://127.0.0.1:9"), " \n", 2, "there is no question"),
        (("--budget", "-1", "--once", "hi"), "", 2, "Invalid value for '--budget'"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_an_exit_code(
    words: tuple[str, ...], said: str, code: int, says: str
) -> None:
    done = spar("chat", *words, said=said)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_refused_question_is_an_exit_code(url: str) -> None:
    done = spar("chat", "--url", url, "--budget", "999", "--once", "Hi")
    assert (done.returncode, done.stdout) == (1, "")
    assert "limit of 64" in done.stderr


def test_on_a_terminal_draft_critique_refinement_and_answer_are_shown(url: str, home: dict[str, str]) -> None:
    screen = on_a_terminal("chat", "--url", f"{url}/v1", "--once", "Hi there", "--budget", "3", env=home)
    shown = plain(screen)
    steps = ("Draft:", "Judged draft: rejected", "be better -> no", "Refinement 1:", "answer ─", "refined_accepted ·")
    places = [shown.index(text) for text in steps]
    assert places == sorted(places)
    # The draft's words are struck through.
    assert re.search(r"\x1b\[[\d;]*9[\d;]*ma plain draft", screen.rpartition("answer ─")[2])


def test_a_conversation_has_commands(url: str, home: dict[str, str]) -> None:
    typed = [
        ("> ", "/budget 2\n"),
        ("Up to 2 nodes", "Hi\n"),
        ("of 2 nodes", "/trace\n"),
        ("better answer\n", "/trace draft\n"),
        ("Vote 3: no", "/compare\n"),
        ("budget 2", "/history\n"),
        ("> Hi", "/nonsense\n"),
        ("/nonsense: no such command", "/trace 7.7\n"),
        ("the search has no node 7.7", "/clear\n"),
        ("> ", "/compare\n"),
        ("there is no question yet", "/quit\n"),
    ]
    shown = plain(on_a_terminal("chat", "--url", url, typed=typed, env=home))
    assert "★ 1 accepted, 100% yes  better answer" in shown
    comparison = shown.partition("budget 0")[2]
    assert "a plain draft" in comparison
    assert "better answer" in comparison


def test_a_question_may_have_several_lines(serving: Serving, home: dict[str, str]) -> None:
    with serving(scripted_pair(lambda messages, _: f"<{messages[-1].text.replace(chr(10), '|')}>")) as url:
        typed = [
            ("> ", "one \\\n"),
            (". ", "two\n"),
            ("<one |two>", '"""three\n'),
            (". ", "\n"),
            (". ", 'four"""\n'),
            ("<three||four>", "\x04"),
        ]
        on_a_terminal("chat", "--url", url, "-b", "0", typed=typed, env=home)


def test_questions_are_kept_for_the_next_conversation(url: str, home: dict[str, str], tmp_path: Path) -> None:
    on_a_terminal("chat", "--url", url, "-b", "0", typed=[("> ", "Hi there\n"), ("tokens", "/quit\n")], env=home)
    history = tmp_path / "spar/chat_history"
    assert "Hi there" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0
    on_a_terminal("chat", "--url", url, "-b", "0", typed=[("> ", "\x1b[A\x1b[A\n"), ("draft", "/quit\n")], env=home)


def test_a_conversation_continues_after_a_refused_question(url: str, home: dict[str, str]) -> None:
    typed = [("> ", "Hi\n"), ("limit of 64", "/budget 1\n"), ("> ", "Hi\n"), ("of 1 nodes", "/quit\n")]
    assert "better answer" in plain(on_a_terminal("chat", "--url", url, "-b", "999", typed=typed, env=home))


HOSTILE = "\x1b[31mred\x1b]0;title\x07 \x9b2J\rover \u202etxt.exe\u202c\x00\ttab\nline é\u200d👩"


@pytest.mark.parametrize("budget", ["0", "1"])
def test_nothing_is_passed_on_that_could_control_a_terminal(serving: Serving, budget: str) -> None:
    with serving(scripted_pair(always(HOSTILE), lambda *_: "[[start]]\n" + HOSTILE + "!\n[[end]]")) as url:
        done = spar("chat", "--url", url, "--once", "Hi there", "--budget", budget)
    assert done.stdout.startswith("[31mred]0;title 2Jover txt.exe\ttab\nline é\u200d👩")
    for shown in (done.stdout, done.stderr):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)


def test_a_drawn_tree_controls_no_terminal_either(serving: Serving, home: dict[str, str]) -> None:
    with serving(scripted_pair(always(f"{HOSTILE}[red]markup"))) as url:
        typed = [("> ", "Hi\n"), ("of 1 nodes", "/trace\n"), ("draft rejected", "/quit\n")]
        screen = on_a_terminal("chat", "--url", url, "-b", "1", typed=typed, env=home)
    assert "\x1b]0;title" not in screen
    assert "\x9b" not in screen
    assert "[red]markup" in plain(screen)


def test_the_diff_is_the_answer_plus_what_was_struck_from_the_draft() -> None:
    text = word_diff("The old river.\n\nIt is calm.", "The blue  river.\n\nIt is calm.")
    assert text.plain == "The old blue  river.\n\nIt is calm."
    assert [(text.plain[span.start : span.end], span.style) for span in text.spans] == [
        ("old ", "red strike"),
        ("blue  ", "bold green"),
    ]
