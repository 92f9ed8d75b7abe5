"""What a key may send in a minute and search at once, and how long any request may take."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar_server.auth.quotas import Quotas
from spar_server.errors import ApiError
from spar_server.http.deadlines import NON_STREAM_S, answer_within, first_byte_within
from spar_server.settings import ApiKey


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def key(name: str = "a", per_minute: int | None = None, searches: int | None = None) -> ApiKey:
    return ApiKey(name=name, sha256="0" * 64, requests_per_minute=per_minute, concurrent_searches=searches)


def refusal(quotas: Quotas, of: ApiKey) -> ApiError | None:
    try:
        quotas.take_request(of)
    except ApiError as error:
        return error
    return None


def test_a_refused_request_is_accepted_after_retry_after_and_not_before() -> None:
    clock = Clock()
    quotas = Quotas(clock=clock)
    assert [refusal(quotas, key(per_minute=6)) for _ in range(6)] == [None] * 6
    clock.now += 3
    error = refusal(quotas, key(per_minute=6))
    assert error is not None
    assert error.retry_after == pytest.approx(7)
    clock.now += 6.9
    assert refusal(quotas, key(per_minute=6)) is not None
    clock.now += 0.2
    assert refusal(quotas, key(per_minute=6)) is None


def test_keys_have_nothing_to_do_with_each_other() -> None:
    quotas = Quotas(clock=Clock())
    quotas.take_request(key("a", per_minute=1))
    assert refusal(quotas, key("a", per_minute=1)) is not None
    assert refusal(quotas, key("b", per_minute=1)) is None
    assert [refusal(quotas, key("c")) for _ in range(1000)] == [None] * 1000


@given(st.integers(1, 120), st.lists(st.floats(0, 30), min_size=1, max_size=200))
def test_no_stretch_of_time_has_more_than_a_full_bucket_and_what_flows_in(per_minute: int, pauses: list[float]) -> None:
    clock = Clock()
    quotas = Quotas(clock=clock)
    let_in = []
    for pause in pauses:
        clock.now += pause
        if refusal(quotas, key(per_minute=per_minute)) is None:
            let_in.append(clock.now)
    for first, start in enumerate(let_in):
        for last in range(first, len(let_in)):
            assert last - first + 1 <= per_minute * (1 + (let_in[last] - start) / 60) + 1e-6


def test_a_key_gets_its_searches_back_when_they_end_however_they_end() -> None:
    quotas, mine = Quotas(clock=Clock()), key(searches=2)

    def fail() -> None:
        with quotas.search(mine, lambda: 30), quotas.search(mine, lambda: 30):
            with pytest.raises(ApiError) as refused, quotas.search(mine, lambda: 30):
                raise AssertionError("a third was let in")
            # Two that take 30 s end every 15 s.
            assert (refused.value.status, refused.value.retry_after) == (429, 15)
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            fail()


@pytest.mark.parametrize(
    ("hint", "within"),
    [
        (None, NON_STREAM_S),
        ("600", NON_STREAM_S),
        ("100", 98),
        ("10", 9),
        ("2", 1.75),
        ("0.3", 0.15),
        ("soon", NON_STREAM_S),
        ("-1", NON_STREAM_S),
        ("nan", NON_STREAM_S),
    ],
)
def test_an_answer_comes_before_its_client_gives_up(hint: str | None, within: float) -> None:
    assert answer_within(hint) == pytest.approx(within)
    assert first_byte_within(hint) >= answer_within(hint)
    assert NON_STREAM_S < 290
