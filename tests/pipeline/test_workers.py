from __future__ import annotations

import threading
import time

from scripted import LONG, eventually

from langchain_wrap.pipeline import workers
from langchain_wrap.pipeline.workers import Workers


def test_every_job_runs_at_once_however_many_there_are():
    together = threading.Barrier(150)
    done = []

    def job():
        together.wait(LONG)
        done.append(1)

    pool = Workers()
    for _ in range(150):
        pool.submit(job)
    assert eventually(lambda: len(done) == 150)


def test_an_idle_thread_is_used_again(monkeypatch):
    monkeypatch.setattr(workers, "IDLE_SECONDS", 3)
    names: set[str] = set()
    pool = Workers()
    for count in range(1, 20):
        pool.submit(lambda: names.add(threading.current_thread().name))
        assert eventually(lambda count=count: pool._idle == 1 and names)
    assert len(names) == 1


def test_threads_are_daemons_and_end_when_idle(monkeypatch):
    monkeypatch.setattr(workers, "IDLE_SECONDS", 0.01)
    seen: list[threading.Thread] = []
    pool = Workers()
    pool.submit(lambda: seen.append(threading.current_thread()))
    assert eventually(lambda: seen)
    assert seen[0].daemon
    assert eventually(lambda: not seen[0].is_alive())
    pool.submit(lambda: seen.append(threading.current_thread()))
    assert eventually(lambda: len(seen) == 2)


def test_no_job_is_lost_at_the_edge_of_idleness(monkeypatch):
    monkeypatch.setattr(workers, "IDLE_SECONDS", 0.001)
    pool, done = Workers(), []
    for i in range(300):
        pool.submit(lambda: done.append(1))
        time.sleep(0.0005 + 0.00002 * (i % 50))
    assert eventually(lambda: len(done) == 300)
    assert eventually(lambda: pool._idle == 0)


def test_a_job_is_let_go_when_it_is_done():
    import gc
    import weakref

    class Held:
        def __call__(self):
            pass

    pool, held = Workers(), Held()
    gone = weakref.ref(held)
    pool.submit(held)
    del held
    assert eventually(lambda: gc.collect() is not None and gone() is None)
