from __future__ import annotations

import asyncio
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import LONG, aeventually, eventually

from langchain_wrap import QueueFullError
from langchain_wrap.pipeline.batching import (
    Batcher,
    BatchQueue,
    Group,
    LoopHome,
    ThreadHome,
    Ticket,
)
from langchain_wrap.pipeline.gate import Gate
from langchain_wrap.pipeline.source import METHODS


class Watched(Ticket):
    """A ticket that counts how often it is settled."""

    settled = 0

    def _finish(self):
        self.settled += 1
        super()._finish()


class Model:
    """A batch method: poison fails, `short` makes the result too short, the rest is echoed."""

    def __init__(self):
        self.lists = []
        self.inside = 0
        self.most = 0
        self.lock = threading.Lock()

    def _enter(self, prompts):
        with self.lock:
            self.lists.append(list(prompts))
            self.inside += 1
            self.most = max(self.most, self.inside)

    def _leave(self):
        with self.lock:
            self.inside -= 1

    def _answer(self, prompts):
        if any(prompt.startswith("poison") for prompt in prompts):
            raise ZeroDivisionError("poison")
        if any(prompt.startswith("short") for prompt in prompts):
            return prompts[:-1]
        return [prompt.upper() for prompt in prompts]

    def batch(self, prompts):
        self._enter(prompts)
        try:
            return self._answer(prompts)
        finally:
            self._leave()

    async def abatch(self, prompts):
        self._enter(prompts)
        try:
            for _ in range(len(prompts) % 3):
                await asyncio.sleep(0)
            return self._answer(prompts)
        finally:
            self._leave()


def groups(model, *, is_async, count=3):
    name, function = ("_abatch", model.abatch) if is_async else ("_batch", model.batch)
    return [
        Group("Model", METHODS[name], function, (), {}, f"group {number}")
        for number in range(count)
    ]


# --- the queue: a pure object -----------------------------------------------------------------

prompts = st.sampled_from(["fine", "fine", "fine", "poison", "short"])
arrivals = st.lists(
    st.lists(st.tuples(prompts, st.integers(0, 2), st.booleans()), min_size=1, max_size=5),
    max_size=6,
)


@given(arrivals, st.none() | st.integers(1, 4), st.randoms(use_true_random=False))
def test_the_queue_gives_every_ticket_once_in_order_and_within_bounds(units, max_size, chance):
    queue = BatchQueue(max_size)
    kinds = groups(Model(), is_async=False)
    waiting, taken = [], []

    def take():
        batch = queue.take()
        staying = [ticket for ticket in waiting if not ticket.left]
        same = [ticket for ticket in staying if ticket.group is staying[0].group]
        assert batch == same[:max_size]
        for ticket in batch:
            waiting.remove(ticket)
        taken.extend(batch)

    for unit in units:
        tickets = [Ticket(prompt, kinds[group]) for prompt, group, _ in unit]
        queue.add(tickets, busy=chance.random() < 0.5)
        waiting.extend(tickets)
        for ticket, (_, _, leaves) in zip(tickets, unit, strict=True):
            if leaves:
                ticket.leave()
        if chance.random() < 0.5:
            take()
    for _ in range(100):
        take()
    assert not [ticket for ticket in waiting if not ticket.left]
    assert len(set(map(id, taken))) == len(taken)
    assert len(queue) == 0


def test_the_queue_admits_a_list_as_a_whole_or_not_at_all():
    queue = BatchQueue(max_queued=3)
    (group, *_) = groups(Model(), is_async=False)

    def unit(n):
        return [Ticket("p", group) for _ in range(n)]

    queue.add(unit(2), busy=True)
    with pytest.raises(QueueFullError, match="max_queued=3"):
        queue.add(unit(2), busy=True)
    assert len(queue) == 2
    queue.add(unit(1), busy=True)


def test_who_left_takes_no_room_in_the_queue():
    queue = BatchQueue(max_queued=1)
    (group, *_) = groups(Model(), is_async=False)
    first, second = Ticket("p", group), Ticket("p", group)
    queue.add([first], busy=True)
    first.leave()
    queue.add([second], busy=True)
    assert queue.take() == [second]


def test_an_idle_model_takes_a_list_of_any_length():
    queue = BatchQueue(max_queued=0)
    (group, *_) = groups(Model(), is_async=False)
    queue.add([Ticket("p", group) for _ in range(9)], busy=False)
    assert len(queue.take()) == 9


# --- the batcher ------------------------------------------------------------------------------


def check(model, tickets, max_size, most):
    for ticket in tickets:
        assert ticket.settled == (1 if ticket.done else 0)
        assert ticket.done or ticket.left
        if not ticket.done:
            continue
        if ticket.prompt.startswith("poison"):
            assert isinstance(ticket.error, ZeroDivisionError)
        elif ticket.prompt.startswith("short"):
            assert isinstance(ticket.error, ValueError)
        elif ticket.error is not None:  # only a list with a short one can have failed it
            assert "must return one for each prompt" in str(ticket.error)
            assert any(
                ticket.prompt in batch and any(p.startswith("short") for p in batch)
                for batch in model.lists
            )
        else:
            assert ticket.value.text == ticket.prompt.upper()
    number = {ticket.prompt: ticket.group.key for ticket in tickets}
    for batch in model.lists:
        assert len({number[prompt] for prompt in batch}) == 1, "groups are mixed"
        assert max_size is None or len(batch) <= max_size
    assert model.most <= most
    assert model.inside == 0


def unique(units, kinds):
    made, count = [], 0
    for unit in units:
        tickets = []
        for prompt, group, leaves in unit:
            count += 1
            ticket = Watched(f"{prompt}{count}", kinds[group])
            tickets.append((ticket, leaves))
        made.append(tickets)
    return made


@settings(max_examples=60, deadline=None)
@given(arrivals, st.none() | st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
def test_in_threads_every_ticket_is_settled_once(units, max_size, most, seed):
    model, chance = Model(), random.Random(seed)
    gate = Gate(chance.choice([None, 1, 2]))
    batcher = Batcher(ThreadHome(), gate, BatchQueue(max_size), most)
    made = unique(units, groups(model, is_async=False))

    def arrive(unit):
        batcher.submit([ticket for ticket, _ in unit])
        for ticket, leaves in unit:
            if leaves and not ticket.done:
                ticket.leave()

    callers = [threading.Thread(target=arrive, args=(unit,)) for unit in made]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(LONG)
    tickets = [ticket for unit in made for ticket, _ in unit]
    assert eventually(lambda: all(ticket.done or ticket.left for ticket in tickets))
    assert eventually(lambda: batcher._running == 0)
    assert gate.inside == gate.queued == 0
    check(model, tickets, max_size, most)


@settings(max_examples=60, deadline=None)
@given(arrivals, st.none() | st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
def test_in_a_loop_every_ticket_is_settled_once(units, max_size, most, seed):
    model, chance = Model(), random.Random(seed)
    gate = Gate(chance.choice([None, 1, 2]))

    async def main():
        home = LoopHome(asyncio.get_running_loop())
        batcher = Batcher(home, gate, BatchQueue(max_size), most)
        made = unique(units, groups(model, is_async=True))

        async def arrive(unit):
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            batcher.submit([ticket for ticket, _ in unit])
            for ticket, leaves in unit:
                if chance.random() < 0.5:
                    await asyncio.sleep(0)
                if leaves and not ticket.done:
                    ticket.leave()

        await asyncio.gather(*map(arrive, made))
        tickets = [ticket for unit in made for ticket, _ in unit]
        assert await aeventually(lambda: all(ticket.done or ticket.left for ticket in tickets))
        assert await aeventually(lambda: batcher._running == 0)
        assert await aeventually(lambda: len(asyncio.all_tasks()) == 1)
        assert gate.inside == gate.queued == 0
        check(model, tickets, max_size, most)

    asyncio.run(main())


def test_what_queued_up_while_the_model_was_busy_goes_in_together():
    go, lists = threading.Event(), []

    def batch(given):
        lists.append(given)
        go.wait(LONG)
        return given

    group = Group("Model", METHODS["_batch"], batch, (), {}, "")
    batcher = Batcher(ThreadHome(), Gate(), BatchQueue(), 1)
    tickets = [Ticket(str(i), group) for i in range(5)]
    for ticket in tickets:
        batcher.submit([ticket])
        assert eventually(lambda: lists)
    go.set()
    assert eventually(lambda: all(ticket.done for ticket in tickets))
    assert lists == [["0"], ["1", "2", "3", "4"]]


def test_the_poison_prompt_is_found_in_few_calls():
    model = Model()
    (group, *_) = groups(model, is_async=False)
    names = [f"fine{i}" for i in range(64)]
    names[37] = "poison"
    tickets = [Ticket(name, group) for name in names]
    Batcher(ThreadHome(), Gate(), BatchQueue(), 1).submit(tickets)
    assert eventually(lambda: all(ticket.done for ticket in tickets))
    assert [ticket.prompt for ticket in tickets if ticket.error] == ["poison"]
    assert len(model.lists) == 1 + 2 * 6
