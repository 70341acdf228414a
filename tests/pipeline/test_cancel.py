from __future__ import annotations

import contextlib
import threading
import time

from scripted import LONG, threads

from langchain_wrap import CancelToken


def test_a_token_is_cancelled_once_and_stays_so():
    token, calls = CancelToken(), []
    token.add_callback(lambda: calls.append(1))
    assert not token.cancelled
    token.cancel()
    token.cancel()
    assert token.cancelled
    assert calls == [1]


def test_a_late_callback_is_called_at_once():
    token, calls = CancelToken(), []
    token.cancel()
    token.add_callback(lambda: calls.append(1))
    assert calls == [1]


def test_a_removed_callback_is_not_called():
    token, calls = CancelToken(), []

    def note():
        calls.append(1)

    token.add_callback(note)
    token.remove_callback(note)
    token.remove_callback(note)
    token.cancel()
    assert calls == []


def test_wait_returns_when_cancelled():
    token = CancelToken()
    assert token.wait(0.001) is False
    threading.Timer(0.02, token.cancel).start()
    begin = time.monotonic()
    assert token.wait(LONG) is True
    assert time.monotonic() - begin < LONG / 2


def test_a_callback_may_use_the_token():
    token, seen = CancelToken(), []

    def use():
        seen.append(token.cancelled)
        token.add_callback(lambda: seen.append("nested"))
        token.cancel()

    token.add_callback(use)
    token.cancel()
    assert seen == [True, "nested"]


def test_a_callback_that_fails_does_not_keep_the_others_from_being_called():
    token, calls = CancelToken(), []

    def fail():
        raise ZeroDivisionError

    token.add_callback(fail)
    token.add_callback(lambda: calls.append(1))
    with contextlib.suppress(ZeroDivisionError):
        token.cancel()
    assert calls == [1]


def test_many_threads_cancel_and_add_at_once():
    for _ in range(50):
        token, calls = CancelToken(), []
        begin = threading.Barrier(8)

        def cancel(token=token, begin=begin):
            begin.wait()
            token.cancel()

        def add(token=token, begin=begin, calls=calls):
            begin.wait()
            token.add_callback(lambda: calls.append(1))

        with threads(*[cancel] * 4, *[add] * 4):
            pass
        assert len(calls) == 4
