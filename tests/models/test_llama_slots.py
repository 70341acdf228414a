"""The scheduler: no engine, no I/O."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_wrap.models.llama_slots import MIN_SHARED, Phase, Slots, Ticket, shared

LONG = "a word " * 200  # longer than MIN_SHARED


def running(*tickets: Ticket) -> list[bool]:
    return [ticket.admitted.is_set() and ticket.phase is not Phase.DONE for ticket in tickets]


@given(st.text("ab", max_size=40), st.text("ab", max_size=40))
def test_shared_is_the_length_of_the_common_beginning(a: str, b: str) -> None:
    length = shared(a, b)
    assert a[:length] == b[:length]
    assert a[: length + 1] != b[: length + 1] or length == min(len(a), len(b))


def test_first_come_first_served() -> None:
    slots = Slots(2)
    tickets = [Ticket(f"{i}") for i in range(4)]
    for ticket in tickets:
        slots.submit(ticket)
    assert running(*tickets) == [True, True, False, False]
    assert {ticket.slot for ticket in tickets[:2]} == {0, 1}
    slots.leave(tickets[1])
    assert running(*tickets) == [True, False, True, False]
    assert tickets[2].slot == tickets[1].slot


def test_a_waiting_ticket_can_be_cancelled() -> None:
    slots = Slots(1)
    first, second, third = Ticket("1"), Ticket("2"), Ticket("3")
    for ticket in (first, second, third):
        slots.submit(ticket)
    slots.cancel(second)
    assert second.phase is Phase.DONE
    assert second.admitted.is_set()  # its reader must wake up
    slots.leave(first)
    assert running(third) == [True]
    slots.leave(second)  # once more does no harm
    slots.leave(third)


def test_a_prompt_goes_where_its_beginning_is() -> None:
    slots = Slots(3)
    done = [Ticket("one " * 30), Ticket("two " * 30), Ticket("three " * 30)]
    for ticket in done:
        slots.submit(ticket)
    for ticket in done:
        assert slots.first_token(ticket)
        slots.leave(ticket)
    again = Ticket("two " * 30 + "and more")
    slots.submit(again)
    assert again.slot == done[1].slot


def test_short_prompts_do_not_wait_for_each_other() -> None:
    slots = Slots(4)
    tickets = [Ticket("the same short beginning " + str(i)) for i in range(4)]
    for ticket in tickets:
        slots.submit(ticket)
    assert running(*tickets) == [True] * 4
    assert all(ticket.phase is Phase.PROMPT for ticket in tickets)


def test_a_long_beginning_is_computed_once_and_restored_for_the_others() -> None:
    slots = Slots(4)
    tickets = [Ticket(f"{LONG}{i} is the question") for i in range(6)]
    for ticket in tickets:
        slots.submit(ticket)
    first, others = tickets[0], tickets[1:]
    assert running(*tickets) == [True] + [False] * 5
    assert first.interrupted  # it had begun alone, and is asked to compute the shared part first
    prefix = slots.begin_prefix(first)
    assert len(prefix) >= MIN_SHARED
    assert all(ticket.prompt.startswith(prefix) for ticket in tickets)
    file = slots.new_file()
    assert slots.end_prefix(first, file) == []
    assert first.phase is Phase.PROMPT
    assert running(*others) == [True] * 3 + [False] * 2
    assert [ticket.restore for ticket in others[:3]] == [file] * 3
    slots.leave(first)
    assert others[3].restore == file


def test_a_beginning_is_taken_over_when_its_owner_leaves() -> None:
    slots = Slots(2)
    tickets = [Ticket(f"{LONG}{i}") for i in range(3)]
    for ticket in tickets:
        slots.submit(ticket)
    assert slots.begin_prefix(tickets[0])
    slots.cancel(tickets[0])
    slots.leave(tickets[0])
    assert running(tickets[1]) == [True]
    assert slots.begin_prefix(tickets[1])


def test_without_anyone_left_to_share_with_the_beginning_is_not_computed_apart() -> None:
    slots = Slots(2)
    first, second = Ticket(LONG + "1"), Ticket(LONG + "2")
    slots.submit(first)
    slots.submit(second)
    slots.cancel(second)
    assert slots.begin_prefix(first) == ""
    assert first.phase is Phase.PROMPT


def test_who_does_not_reuse_does_not_take_part() -> None:
    slots = Slots(4)
    tickets = [Ticket(LONG + str(i), reuse=False) for i in range(4)]
    for ticket in tickets:
        slots.submit(ticket)
    assert running(*tickets) == [True] * 4


def test_the_oldest_files_are_given_up() -> None:
    slots = Slots(1)
    old = []
    for i in range(6):
        pair = [Ticket(f"{i} {LONG}{j}") for j in range(2)]
        for ticket in pair:
            slots.submit(ticket)
        slots.begin_prefix(pair[0])
        old += slots.end_prefix(pair[0], slots.new_file())
        for ticket in pair:
            slots.leave(ticket)
    assert old == ["prefix-1.bin", "prefix-2.bin"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(1, 5))
def test_every_ticket_gets_its_turn_whatever_happens(seed: int, count: int) -> None:
    chance = random.Random(seed)
    slots = Slots(count)
    starts = [LONG, LONG + "x " * 500, "y " * 600, "", "short "]
    tickets = [
        Ticket(chance.choice(starts) + str(i), reuse=chance.random() < 0.9) for i in range(25)
    ]
    coming = list(tickets)
    for _ in range(2000):
        inside = [t for t in tickets if t.admitted.is_set() and t.phase is not Phase.DONE]
        slots_taken = [ticket.slot for ticket in inside]
        assert len(set(slots_taken)) == len(slots_taken) <= count
        if coming and chance.random() < 0.5:
            slots.submit(coming.pop())
        elif inside:
            _act(slots, chance.choice(inside), chance)
        elif not coming:
            break
        known = [ticket for ticket in tickets if ticket not in coming]
        if known and chance.random() < 0.05:
            slots.cancel(chance.choice(known))
    assert all(ticket.phase is Phase.DONE for ticket in tickets)


def _act(slots: Slots, ticket: Ticket, chance: random.Random) -> None:
    """Do what a worker does next for a ticket that has its slot."""
    if ticket.cancelled or ticket.phase is Phase.DECODING:
        slots.leave(ticket)
    elif slots.begin_prefix(ticket):
        assert ticket.prompt.startswith(ticket.prefix)
        slots.end_prefix(ticket, slots.new_file() if chance.random() < 0.9 else None)
    elif not slots.first_token(ticket):
        assert ticket.interrupted
