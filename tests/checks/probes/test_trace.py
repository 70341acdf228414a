"""A trace: what a call gave and told."""

import asyncio

from langchain_core.outputs import Generation, LLMResult

from langchain_wrap.checks.probes.trace import AsyncRecorder, Recorder, Trace


def told(trace):
    return [(mark.kind, mark.text, mark.run_id) for mark in trace.marks]


def test_marks_are_in_order_with_times():
    trace = Trace("stream", ["x"])
    trace.begin()
    for text in "abc":
        trace.mark("chunk", text, payload=text)
    trace.end()
    assert trace.chunks == ["a", "b", "c"]
    times = [mark.seconds for mark in trace.marks]
    assert 0 <= times[0] <= times[1] <= times[2] <= trace.seconds


def test_what_is_no_text_is_shown():
    trace = Trace("stream", ["x"])
    trace.mark("token", b"a")
    assert trace.marks[0].text == "b'a'"
    assert trace.text is None


def test_recorder_notes_each_callback_on_its_run():
    trace = Trace("invoke", ["x"])
    recorder = Recorder(trace)
    recorder.on_llm_start({"name": "m"}, ["x"], run_id=1, tags=["t"])
    recorder.on_llm_new_token("to", chunk="chunk", run_id=1)
    recorder.on_llm_end(LLMResult(generations=[[Generation(text="token")]]), run_id=1)
    recorder.on_llm_error(KeyError("k"), run_id=2)
    assert told(trace) == [
        ("start", "x", 1), ("token", "to", 1), ("end", "token", 1), ("error", "KeyError('k')", 2),
    ]  # fmt: skip
    assert {run: len(marks) for run, marks in trace.runs.items()} == {1: 3, 2: 1}
    start, token, *_ = trace.marks
    assert start.details == {"serialized": {"name": "m"}, "tags": ["t"]}
    assert token.payload == "chunk"


def test_an_end_without_generations_has_no_text():
    trace = Trace("invoke", ["x"])
    Recorder(trace).on_llm_end(LLMResult(generations=[[]]), run_id=1)
    assert told(trace) == [("end", "", 1)]


def test_async_recorder_notes_what_is_not_awaited_too_late():
    trace = Trace("astream", ["x"])
    recorder = AsyncRecorder(trace)

    async def call():
        await recorder.on_llm_new_token("awaited", run_id=1)
        trace.mark("chunk", "first")
        late = asyncio.ensure_future(recorder.on_llm_new_token("not awaited", run_id=1))
        trace.mark("chunk", "second")
        await late

    asyncio.run(call())
    assert [mark.text for mark in trace.marks] == ["awaited", "first", "second", "not awaited"]
