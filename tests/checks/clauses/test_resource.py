"""RESOURCE: what its mutants do not show."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mutants.right import Core, Ours
from pydantic import PrivateAttr
from scripted import KINDS

from langchain_wrap.checks import check_llm
from langchain_wrap.checks.probes import leftovers


def checked(llm, *ids, **options):
    report = check_llm(llm, only=ids or ["RESOURCE"], **options)
    return {result.id: result for result in report}


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_model_of_each_kind_fails_nothing(kind):
    assert "failed" not in {result.status for result in checked(KINDS[kind]).values()}


class KeepsAPool(Core):
    """Threads and files that stay, however many calls there are."""

    _pool: Any = PrivateAttr(default_factory=lambda: ThreadPoolExecutor(8))
    _file: Any = PrivateAttr(default=None)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        with self._lock:
            if self._file is not None:
                os.close(self._file)
            self._file = os.open(os.devnull, os.O_RDONLY)
        return self._pool.submit(self.text, prompt, stop).result()


def test_a_pool_and_a_connection_may_stay():
    assert {result.status for result in checked(KeepsAPool).values()} == {"passed"}


def test_what_does_not_stream_cannot_be_left_early():
    class Whole(Core):
        _stream = Core.__mro__[2]._stream
        _astream = Core.__mro__[2]._astream

    result = checked(Whole, "RESOURCE-05")["RESOURCE-05"]
    assert (result.status, result.message) == ("skipped", "the model does not stream")


def test_short_streams_cannot_be_left_early():
    class Short(Ours):
        def _stream(self, prompt: str):
            yield "ok"

    assert checked(Short, "RESOURCE-05")["RESOURCE-05"].status == "skipped"


@pytest.mark.parametrize("kind", ["files", "processes"])
def test_what_the_system_does_not_tell_is_skipped(monkeypatch, kind):
    monkeypatch.setattr(leftovers, kind, lambda: None)
    found = checked(Core, "RESOURCE-01", "RESOURCE-03", "RESOURCE-04")
    skipped = {"files": "RESOURCE-03", "processes": "RESOURCE-04"}[kind]
    assert [id_ for id_, result in found.items() if result.status == "skipped"] == [skipped]
    assert found[skipped].message == f"this system does not tell which {kind} there are"


def test_growth_is_what_stays_and_goes_on():
    left: list[threading.Event] = []

    def leave() -> None:
        left.append(threading.Event())
        threading.Thread(target=left[-1].wait, args=(20,), daemon=True).start()

    async def always() -> None:
        leave()

    async def at_first() -> None:
        if len(left) < 20:
            leave()

    async def nothing() -> None:
        await asyncio.to_thread(lambda: None)

    async def measure():
        found = [await leftovers.growth(nothing, 4, warm=1)]
        found.append(await leftovers.growth(always, 4, warm=1))
        while len(left) < 12:  # so that eight are left, of the twelve that the cycles ask for
            leave()
        found.append(await leftovers.growth(at_first, 6, warm=0))
        return found

    none, grows, stops = asyncio.run(measure())
    for event in left:
        event.set()
    assert (none["threads"], grows["threads"], stops["threads"]) == (0, 4, 0)
