"""What listeners are told: once, in order, on the run of the prompt, before the reader has it."""

from __future__ import annotations

import asyncio
import threading
import uuid

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import GenerationChunk
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from scripted import (
    KINDS,
    LONG,
    PATHS,
    STREAMING,
    AsyncRecorder,
    ByAStream,
    ByCall,
    ByStream,
    Recorder,
)

from langchain_wrap import LLM

HANDLERS = [Recorder, AsyncRecorder]
DIRECT = [path for path in PATHS if path != "astream_events"]


@pytest.mark.parametrize("kind", STREAMING)
def test_a_sync_reader_gets_a_chunk_after_its_callback(kind):
    recorder = Recorder()
    got = []
    for text in KINDS[kind]().stream("abcdef", {"callbacks": [recorder]}):
        got.append(text)
        assert recorder.tokens == got
    assert got == ["ab", "cd", "ef"]


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("kind", STREAMING)
async def test_an_async_reader_gets_a_chunk_after_its_callback_was_awaited(kind, handler):
    recorder = handler()
    got = []
    async for text in KINDS[kind]().astream("abcdef", {"callbacks": [recorder]}):
        got.append(text)
        assert recorder.tokens == got
    assert got == ["ab", "cd", "ef"]


@pytest.mark.parametrize("path", DIRECT)
def test_the_chunk_is_given_with_the_text(path):
    recorder = Recorder()
    PATHS[path](ByStream(), "abcd", {"callbacks": [recorder]})
    assert all(isinstance(chunk, GenerationChunk) for chunk in recorder.chunks)
    assert [chunk.text for chunk in recorder.chunks] == recorder.tokens


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("path", DIRECT)
def test_blocking_and_async_handlers_hear_the_same(path, handler):
    recorder = handler()
    PATHS[path](ByAStream(), "abcd", {"callbacks": [recorder]})
    runs = 2 if "batch" in path else 1
    assert recorder.names.count("start") == recorder.names.count("end") == runs
    assert "".join(recorder.tokens) == "abcd" * runs or runs == 2
    for run_id in recorder.run_ids:
        text = "".join(w for n, run, w in recorder.events if n == "token" and run == run_id)
        assert text == "abcd"


@pytest.mark.parametrize("path", DIRECT)
def test_a_model_that_reports_its_own_tokens_does_not_double_them(path):
    class Reporting(LLM):
        def _call(self, prompt, run_manager=None):
            for letter in prompt:
                run_manager.on_llm_new_token(letter)
            return prompt

        def _stream(self, prompt, run_manager=None):
            for letter in prompt:
                chunk = GenerationChunk(text=letter)
                run_manager.on_llm_new_token(letter, chunk=chunk)
                yield chunk

    recorder = Recorder()
    PATHS[path](Reporting(), "abc", {"callbacks": [recorder]})
    assert "".join(recorder.tokens) in ("abc", "abcabc"[: 6 if "batch" in path else 3])


async def test_an_async_model_that_reports_its_own_tokens_does_not_double_them():
    class Reporting(LLM):
        async def _astream(self, prompt, run_manager=None):
            for letter in prompt:
                await run_manager.on_llm_new_token(letter)
                yield letter

    recorder = Recorder()
    text = [t async for t in Reporting().astream("abc", {"callbacks": [recorder]})]
    assert text == recorder.tokens == ["a", "b", "c"]


@pytest.mark.parametrize("path", ["invoke", "ainvoke", "stream", "astream"])
def test_the_run_manager_of_a_model_is_the_one_of_its_run(path):
    class Curious(LLM):
        def _stream(self, prompt, run_manager=None):
            yield str(run_manager.run_id)
            yield ",".join(run_manager.tags)

    run_id = uuid.uuid4()
    config = {"run_id": run_id, "tags": ["t"], "callbacks": [Recorder()]}
    assert PATHS[path](Curious(), "p", config) == f"{run_id}t"


@pytest.mark.parametrize("path", ["batch", "abatch"])
@pytest.mark.parametrize("kind", KINDS)
def test_in_a_batch_tokens_arrive_on_the_run_of_their_prompt(kind, path):
    recorder = Recorder()
    prompts = [f"<{i}> of many" for i in range(20)]
    llm = KINDS[kind]()
    config = {"callbacks": [recorder]}
    if path == "batch":
        assert llm.batch(prompts, config) == prompts
    else:
        assert asyncio.run(llm.abatch(prompts, config)) == prompts
    starts = {run: what for name, run, what in recorder.events if name == "start"}
    assert sorted(starts.values()) == sorted(prompts)
    for run_id, prompt in starts.items():
        own = [(name, what) for name, run, what in recorder.events if run == run_id]
        assert "".join(what for name, what in own if name == "token") == prompt
        assert own[-1][0] == "end"
        assert own[-1][1].generations[0][0].text == prompt


def test_each_input_of_a_batch_has_its_own_config():
    first, second = Recorder(), Recorder()
    ByCall().batch(["a", "b"], [{"callbacks": [first]}, {"callbacks": [second]}])
    assert (first.tokens, second.tokens) == (["a"], ["b"])


def test_the_given_run_id_is_the_runs():
    run_id = uuid.uuid4()
    recorder = Recorder()
    ByCall().invoke("p", {"callbacks": [recorder], "run_id": run_id})
    assert recorder.run_ids == {run_id}


# --- generate ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_async", [False, True])
def test_generate_gives_generations_and_runs_in_order(kind, is_async):
    recorder = Recorder()
    llm = KINDS[kind]()
    prompts = ["a", "bb", "ccc"]
    if is_async:
        result = asyncio.run(llm.agenerate(prompts, callbacks=[recorder]))
    else:
        result = llm.generate(prompts, callbacks=[recorder])
    assert [generations[0].text for generations in result.generations] == prompts
    starts = {what: run for name, run, what in recorder.events if name == "start"}
    assert [info.run_id for info in result.run] == [starts[prompt] for prompt in prompts]


def test_generate_takes_callbacks_tags_and_ids_for_each_prompt():
    first, second = Recorder(), Recorder()
    ids = [uuid.uuid4(), uuid.uuid4()]
    ByCall().generate(
        ["a", "b"],
        callbacks=[[first], [second]],
        tags=[["x"], ["y"]],
        metadata=[{"k": 1}, {"k": 2}],
        run_name=["n", "m"],
        run_id=ids,
    )
    assert (first.run_ids, second.run_ids) == ({ids[0]}, {ids[1]})
    assert (first.tokens, second.tokens) == (["a"], ["b"])
    start = first.payloads[0][2]
    assert start["tags"] == ["x"]
    assert start["metadata"]["k"] == 1
    assert start["name"] == "n"


def test_generate_refuses_lists_of_another_length():
    with pytest.raises(ValueError, match="3 run_id's were given for 2"):
        ByCall().generate(["a", "b"], run_id=[uuid.uuid4() for _ in range(3)])
    with pytest.raises(ValueError, match="tags must be a list of the same length"):
        ByCall().generate(["a", "b"], callbacks=[[Recorder()], [Recorder()]], tags=[["x"]])


@pytest.mark.parametrize("wrong", ["p", ("p",), [1], None])
def test_generate_refuses_what_is_no_list_of_str(wrong):
    with pytest.raises(ValueError, match="list of str"):
        ByCall().generate(wrong)


def test_generate_of_nothing():
    assert ByCall().generate([]).generations == []
    assert ByCall().batch([]) == []
    assert asyncio.run(ByCall().abatch([])) == []


# --- handlers that fail -----------------------------------------------------------------------


class Failing(BaseCallbackHandler):
    def __init__(self, event: str, *, raise_error: bool) -> None:
        self.raise_error = raise_error
        self.heard: list[str] = []

        def fail(*args: object, **kwargs: object) -> None:
            self.heard.append(event)
            raise ZeroDivisionError(event)

        setattr(self, event, fail)


EVENTS = ["on_llm_start", "on_llm_new_token", "on_llm_end"]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("path", DIRECT)
def test_a_failing_handler_does_no_harm(path, event):
    handler = Failing(event, raise_error=False)
    assert PATHS[path](ByStream(), "abcd", {"callbacks": [handler]}) == "abcd"
    assert handler.heard


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("path", DIRECT)
def test_a_handler_with_raise_error_ends_the_call_and_frees_the_model(path, event):
    llm = ByStream(concurrency=1)
    with pytest.raises(ZeroDivisionError):
        PATHS[path](llm, "abcd", {"callbacks": [Failing(event, raise_error=True)]})
    assert PATHS[path](llm, "abcd", None) == "abcd"


def test_a_handler_that_stops_a_stream_closes_the_source():
    closed = []

    class Closing(LLM):
        def _stream(self, prompt):
            try:
                yield from "abc"
            finally:
                closed.append(True)

    recorder = Recorder()
    failing = Failing("on_llm_new_token", raise_error=True)
    with pytest.raises(ZeroDivisionError):
        list(Closing().stream("p", {"callbacks": [failing, recorder]}))
    assert closed == [True]
    assert recorder.names[-1] == "error"


@pytest.mark.parametrize("path", DIRECT)
def test_an_error_of_the_model_is_reported_once_with_the_partial_text(path):
    class Breaking(LLM):
        def _stream(self, prompt):
            yield "par"
            yield "tial"
            raise ZeroDivisionError("broken")

    responses = []

    class Listener(Recorder):
        def on_llm_error(self, error, *, response=None, **kwargs):
            responses.append(response.generations[0][0].text)
            super().on_llm_error(error, **kwargs)

    recorder = Listener()
    with pytest.raises(ZeroDivisionError):
        PATHS[path](Breaking(), "p", {"callbacks": [recorder]})
    assert "error" in recorder.names
    assert recorder.names.count("error") + recorder.names.count("end") == len(recorder.run_ids)
    assert responses[0] == "partial"


async def test_runs_that_fail_together_are_all_reported_to_a_slow_handler():
    class Breaking(LLM):
        def _call(self, prompt):
            together.wait(LONG)
            raise ZeroDivisionError(prompt)

    class Slow(AsyncRecorder):
        async def on_llm_error(self, error, **kwargs):
            await asyncio.sleep(0.01 * int(str(error)))
            await super().on_llm_error(error, **kwargs)

    together = threading.Barrier(8)
    recorder = Slow()
    prompts = [str(i) for i in range(8)]
    with pytest.raises(ZeroDivisionError):
        await Breaking().abatch(prompts, {"callbacks": [recorder]})
    assert recorder.names.count("start") == 8
    assert recorder.names.count("error") + recorder.names.count("end") == 8


@pytest.mark.parametrize("path", DIRECT)
def test_a_tracer_sees_inputs_outputs_and_end(path):
    collector = RunCollectorCallbackHandler()
    PATHS[path](ByStream(), "abcd", {"callbacks": [collector]})
    for run in collector.traced_runs:
        assert run.inputs == {"prompts": ["abcd"]}
        assert run.outputs["generations"][0][0]["text"] == "abcd"
        assert run.end_time is not None
        assert run.error is None


@pytest.mark.parametrize("path", ["invoke", "ainvoke", "stream", "astream"])
def test_traces_are_told_the_name_of_the_model(path):
    class Named(ByCall):
        @property
        def _identifying_params(self):
            return {"model_name": "so"}

    class Fielded(ByCall):
        model: str = "a field"

        @property
        def _identifying_params(self):
            return {"model_name": "so"}

    def told(llm):
        recorder = Recorder()
        PATHS[path](llm, "p", {"callbacks": [recorder]})
        return recorder.payloads[0][2]["metadata"].get("ls_model_name")

    assert [told(llm) for llm in (Named(), Fielded(), ByCall())] == ["so", "a field", None]
