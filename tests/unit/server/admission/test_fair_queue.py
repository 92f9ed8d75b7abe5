"""Whose turn it is: shares by weight, no credit for silence, no debt for leaving."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from spar_server.admission.fair_queue import FairQueue, Ticket


def filled(*tickets: Ticket) -> FairQueue:
    queue = FairQueue()
    for ticket in tickets:
        queue.push(ticket)
    return queue


def served(queue: FairQueue, times: int | None = None) -> list[Ticket]:
    return [queue.pop() for _ in range(len(queue) if times is None else times)]


def test_one_keys_searches_of_budget_64_do_not_hold_up_anothers_small_ones() -> None:
    queue = filled(*(Ticket("big", 65) for _ in range(10)), *(Ticket("small", 1) for _ in range(10)))
    assert [ticket.key for ticket in served(queue, 11)] == ["big", *["small"] * 10]


def test_keys_get_cost_in_proportion_to_their_weights() -> None:
    light = [Ticket("light", 3, weight=1) for _ in range(300)]
    heavy = [Ticket("heavy", 2, weight=2) for _ in range(300)]
    cost: Counter[str] = Counter()
    for ticket in served(filled(*light, *heavy), 200):
        cost[ticket.key] += ticket.cost
    assert 1.9 < cost["heavy"] / cost["light"] < 2.1


def test_the_requests_of_one_key_stay_in_their_order() -> None:
    tickets = [Ticket("one", cost) for cost in (5, 1, 3)]
    assert served(filled(*tickets)) == tickets


def test_an_idle_key_earns_no_credit() -> None:
    queue = filled(*(Ticket("busy", 10) for _ in range(20)))
    served(queue, 10)
    for _ in range(10):
        queue.push(Ticket("late", 10))
    keys = Counter(ticket.key for ticket in served(queue, 10))
    assert keys == {"busy": 5, "late": 5}


def test_leaving_the_queue_costs_the_key_nothing() -> None:
    leaver = Ticket("a", 1000)
    queue = filled(Ticket("a", 1), leaver, Ticket("a", 1), Ticket("b", 1), Ticket("b", 1))
    queue.remove(leaver)
    assert [ticket.key for ticket in served(queue)] == ["a", "b", "a", "b"]


def test_a_request_that_replaces_a_cancelled_one_takes_its_place() -> None:
    first = Ticket("a", 1)
    queue = filled(first, Ticket("a", 1), Ticket("b", 1), Ticket("c", 1))
    served(queue, 0)
    queue.remove(first)
    assert [ticket.key for ticket in served(queue)] == ["a", "b", "c"]


def test_an_idle_key_is_not_charged_for_earlier_requests() -> None:
    queue = filled(*(Ticket("a", 65) for _ in range(10)))
    served(queue)
    queue.rest()
    for key in "abab":
        queue.push(Ticket(key, 1))
    assert [ticket.key for ticket in served(queue)] == ["a", "b", "a", "b"]


KEYS = st.sampled_from("abc")
TICKETS = st.lists(st.builds(Ticket, KEYS, st.integers(1, 65), st.sampled_from([0.5, 1.0, 4.0])), max_size=30)


@given(TICKETS, st.builds(Ticket, KEYS, st.integers(1, 65)), st.data())
def test_the_cost_before_a_ticket_is_what_is_served_before_it(
    tickets: list[Ticket], mine: Ticket, data: st.DataObject
) -> None:
    queue = filled(*tickets)
    served(queue, data.draw(st.integers(0, len(tickets))))
    expected = queue.cost_before(mine)
    queue.push(mine)
    before = 0
    while (ticket := queue.pop()) is not mine:
        before += ticket.cost
    assert before == expected


@given(st.integers(1, 65), st.integers(1, 65), st.sampled_from([0.5, 1.0, 3.0]))
def test_two_that_always_want_more_never_differ_by_more_than_one_request_of_each(
    cost_a: int, cost_b: int, weight_b: float
) -> None:
    queue = filled(*(Ticket("a", cost_a) for _ in range(100)), *(Ticket("b", cost_b, weight_b) for _ in range(100)))
    spans: Counter[str] = Counter()
    while queue.waiting("a") and queue.waiting("b"):
        ticket = queue.pop()
        spans[ticket.key] += ticket.span  # type: ignore[assignment]
        # The bound of the paper's theorem 1, for one server of any speed.
        assert abs(spans["a"] - spans["b"]) <= cost_a + cost_b / weight_b + 1e-6


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 65)), min_size=8, max_size=60), st.integers(0, 7))
def test_a_newcomer_waits_for_at_most_one_request_of_each_other_key(others: list[tuple[str, int]], before: int) -> None:
    queue = filled(*(Ticket(*other) for other in others[:before]))
    mine = Ticket("mine", 65)
    queue.push(mine)
    turns = 0
    for other in others[before:]:
        queue.push(Ticket(*other))
        turns += 1
        if queue.pop() is mine:
            break
    assert turns <= len("abc") + 1
