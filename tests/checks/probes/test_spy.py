"""A spy: sees the calls of the author's methods, and leaves no mark on the model."""

import asyncio

import pytest
from langchain_core.language_models.fake import FakeListLLM, FakeStreamingListLLM
from mutants.right import Core, Ours, answer, pieces
from scripted import KINDS

from langchain_wrap.checks.probes.paths import BATCHES, PATHS, STREAMS
from langchain_wrap.checks.probes.paths import call as call_path
from langchain_wrap.checks.probes.spy import PROBE, Spy, authored, spying

MODELS = {"Core": Core, "Ours": Ours, **KINDS}


def called(llm, path, prompt="hi you"):
    return call_path(llm, path, [prompt], seconds=20)


@pytest.mark.parametrize(
    ("llm", "methods"),
    [
        (Core(), {"_call", "_acall", "_stream", "_astream"}),
        (Ours(), {"_stream"}),
        (FakeListLLM(responses=["a"]), {"_call", "_acall"}),
        *((kind(), {name}) for name, kind in KINDS.items()),
    ],
)
def test_authored(llm, methods):
    assert set(authored(llm)) == methods


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    def test_the_text_stays_and_the_visit_is_seen(self, name, path):
        llm = MODELS[name]()
        wanted = called(llm, path).texts
        before = dict(llm.__dict__)
        with spying(llm, Spy()) as spy:
            assert called(llm, path).texts == wanted
        assert [visit.prompts for visit in spy.visits] == [["hi you"]]
        (visit,) = spy.visits
        assert visit.method in authored(llm)
        assert visit.left >= visit.entered
        assert (spy.inside, spy.peak, visit.early, visit.error) == (0, 1, False, None)
        assert llm.__dict__ == before
        called(llm, path)
        assert len(spy.visits) == 1

    def test_it_can_make_a_prompt_fail(self, name, path):
        llm = MODELS[name]()
        with spying(llm, Spy(fail=lambda prompt: KeyError(prompt))) as spy:
            trace = called(llm, path)
        assert repr(trace.error) == "KeyError('hi you')"
        assert isinstance(spy.visits[0].error, KeyError)


@pytest.mark.parametrize("path", sorted(set(PATHS) - STREAMS))
@pytest.mark.parametrize("name", ["Core", "_call", "_acall", "_batch", "_abatch"])
def test_it_can_change_the_text(name, path):
    llm = MODELS[name]()
    with spying(llm, Spy(change=lambda text, kwargs: text[::-1])):
        assert called(llm, path).text == called(MODELS[name](), path).text[::-1]


@pytest.mark.parametrize("path", sorted(STREAMS))
@pytest.mark.parametrize("llm", [Core(), Ours()])
def test_it_can_fail_in_the_middle_of_a_stream(llm, path):
    with spying(llm, Spy(fail=lambda prompt: KeyError("middle"), fail_after=2)) as spy:
        trace = called(llm, path)
    assert trace.chunks == pieces(answer("hi you"))[:2]
    assert spy.visits[0].chunks == 2
    assert spy.visits[0].said == "".join(trace.chunks)


@pytest.mark.parametrize("path", sorted(BATCHES))
def test_it_counts_who_is_inside(path):
    with spying(Ours(), Spy(delay=0.05)) as spy:
        pass
    llm = Ours()
    with spying(llm, Spy(delay=0.2)) as spy:
        call_path(llm, path, ["a", "b", "c"], seconds=20)
    assert spy.peak >= 2
    assert sorted(visit.prompts[0] for visit in spy.visits) == ["a", "b", "c"]


@pytest.mark.parametrize("path", PATHS)
def test_it_sees_context_variables(path):
    llm = Ours()
    token = PROBE.set("here")
    try:
        with spying(llm, Spy()) as spy:
            called(llm, path)
    finally:
        PROBE.reset(token)
    assert spy.visits[0].probe == "here"


def test_it_sees_that_a_stream_was_left_early():
    llm = FakeStreamingListLLM(responses=["abc"])
    assert "_stream" not in authored(llm)  # it overrides `stream` itself
    llm = Core()
    with spying(llm, Spy()) as spy:
        stream = llm.stream("hi")
        next(stream)
        stream.close()
        assert [visit.early for visit in spy.visits] == [True]


def test_it_sees_that_a_call_was_cancelled():
    llm = Core()

    async def cancel():
        with spying(llm, Spy(delay=60)) as spy:
            task = asyncio.create_task(llm.ainvoke("hi"))
            while not spy.visits:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return spy

    assert [visit.early for visit in asyncio.run(cancel()).visits] == [True]
