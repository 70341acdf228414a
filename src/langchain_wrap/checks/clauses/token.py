"""TOKEN: token callbacks."""

from __future__ import annotations

from langchain_core.outputs import GenerationChunk

from langchain_wrap.checks.clause import Area, Skipped
from langchain_wrap.checks.probes.crowd import several
from langchain_wrap.checks.probes.deadline import NoAnswer
from langchain_wrap.checks.probes.paths import ASYNC, STREAMS, call_as_given
from langchain_wrap.checks.probes.snippets import LISTENER
from langchain_wrap.checks.probes.tokens import (
    by_prompt,
    first_late,
    listened,
    never_awaited,
    ordinary,
    reading,
    streamed,
    texts,
    wants_every_chunk,
)
from langchain_wrap.checks.probes.trace import Recorder, Trace
from langchain_wrap.checks.subject import Subject, describe_error, shown

area = Area("TOKEN", "Token callbacks")

_BATCHES = ("batch", "abatch")

_CALLBACK = "langchain_core BaseCallbackHandler.on_llm_new_token: «Run on new output token.»"


@area.clause(
    1,
    "`stream` reports each chunk by `on_llm_new_token`, once and with the same text.",
    level="contract",
    why="Interfaces that show tokens as they come, and traces, show nothing, or other text.",
    source=f"{_CALLBACK}; LangChain, «How to create a custom LLM»: `_stream` calls "
    "`run_manager.on_llm_new_token(chunk.text, chunk=chunk)`",
    fix="In `_stream`, before each `yield chunk`: `if run_manager: "
    "run_manager.on_llm_new_token(chunk.text, chunk=chunk)`.",
)
def stream_reports(model: Subject) -> None:
    _expect_each_reported(model, streamed(model, "stream"))


@area.clause(
    2,
    "`astream` reports each chunk by `on_llm_new_token`, once and with the same text.",
    level="contract",
    why="Servers are async: there, users see no token, or other text than on a desk.",
    source=f"{_CALLBACK}; BaseLLM._astream: «An async version of the _stream method.»",
    fix="In `_astream`, before each `yield chunk`: `if run_manager: await "
    "run_manager.on_llm_new_token(chunk.text, chunk=chunk)`.",
)
def astream_reports(model: Subject) -> None:
    trace = streamed(model, "astream")
    if not texts(trace, "token") and never_awaited(model):
        raise Skipped("on_llm_new_token is called and not awaited, as TOKEN-05 reports")
    _expect_each_reported(model, trace)


def _expect_each_reported(model: Subject, trace: Trace) -> None:
    tokens, chunks = texts(trace, "token"), texts(trace, "chunk")
    model.expect(
        tokens == chunks,
        f"{trace.path} gave the chunks {shown(chunks)} and reported "
        f"{shown(tokens) if tokens else 'none of them'}",
        LISTENER,
        *reading(trace.path, trace.prompts[0], "got.append(chunk)"),
        "tokens = [token for token in listener.of('token') if token]",
        "assert tokens == [chunk for chunk in got if chunk], (tokens, got)",
    )


@area.clause(
    3,
    "`stream` reports a chunk before it delivers it.",
    level="contract",
    why="Traces end before their last token, and what a listener shows lags behind the answer.",
    source="langchain_core BaseLLM.stream ends the run when the last chunk is taken; LangChain, "
    "«How to create a custom LLM»: the callback comes before the `yield`",
    fix="Call `run_manager.on_llm_new_token` before `yield`, not after it.",
)
def stream_reports_first(model: Subject) -> None:
    trace = _reported(model, "stream")
    late = first_late(trace)
    model.expect(
        late is None,
        f"the reader of stream had the chunk {shown(late)} before it was reported",
        *_in_time("stream", trace.prompts[0]),
    )


def _reported(model: Subject, path: str) -> Trace:
    trace = streamed(model, path)
    if texts(trace, "token") != texts(trace, "chunk"):
        by = "TOKEN-02" if path in ASYNC else "TOKEN-01"
        raise Skipped(f"{path} does not report its chunks, as {by} says")
    return trace


def _in_time(path: str, prompt: str) -> list[str]:
    each = ("got.append(chunk)", "assert ''.join(listener.of('token')).startswith(''.join(got))")
    return [LISTENER, *reading(path, prompt, *each)]


@area.clause(
    4,
    "`on_llm_new_token` is given the chunk: a `GenerationChunk` with the same text.",
    level="contract",
    why="`astream_events` makes one of its own, so logprobs and finish reason are lost.",
    source="langchain_core BaseCallbackHandler.on_llm_new_token: «chunk: The new generated chunk, "
    "containing content and other information.»",
    fix="`run_manager.on_llm_new_token(chunk.text, chunk=chunk)`",
)
def gives_the_chunk(model: Subject) -> str | None:
    looked = []
    for path in ("stream", "astream"):
        try:
            trace = streamed(model, path)
        except Skipped:
            continue
        for mark in trace.of("token"):
            chunk = mark.payload
            model.expect(
                isinstance(chunk, GenerationChunk) and chunk.text == mark.text,
                f"{path} reported {shown(mark.text)} with chunk={shown(chunk)}",
                "from langchain_core.outputs import GenerationChunk",
                LISTENER,
                *reading(path, trace.prompts[0], "got.append(chunk)"),
                "for token, chunk in zip(listener.of('token'), listener.chunks):",
                "    assert isinstance(chunk, GenerationChunk), chunk",
                "    assert chunk.text == token, (chunk, token)",
            )
        if texts(trace, "token"):
            looked.append(path)
    if not looked:
        raise Skipped("no token is reported")
    return None if len(looked) == 2 else f"only {looked[0]} reports tokens"


@area.clause(
    5,
    "`astream` awaits `on_llm_new_token` before it delivers the chunk.",
    level="contract",
    why="Without `await` the callback is never called, or comes in any order, and its errors are "
    "lost.",
    source="langchain_core AsyncCallbackManagerForLLMRun.on_llm_new_token is a coroutine",
    fix="`await run_manager.on_llm_new_token(chunk.text, chunk=chunk)` before `yield`; no "
    "`create_task`.",
)
def astream_awaits(model: Subject) -> None:
    trace = streamed(model, "astream")
    if not texts(trace, "token"):
        model.expect(
            not never_awaited(model),
            "astream calls on_llm_new_token and does not await it",
            "import warnings",
            LISTENER,
            "with warnings.catch_warnings(record=True) as caught:",
            "    warnings.simplefilter('always')",
            f"    {listened('astream', trace.prompts[0])}",
            "late = [str(one.message) for one in caught if 'never awaited' in str(one.message)]",
            "assert not late, late",
        )
    late = first_late(_reported(model, "astream"))
    model.expect(
        late is None,
        f"the reader of astream had the chunk {shown(late)} before its report was awaited",
        *_in_time("astream", trace.prompts[0]),
    )


@area.clause(
    6,
    "Callbacks come in order: one start, the tokens, one end, all on one run.",
    level="contract",
    why="Traces show two runs for one call, or one that never ends.",
    source="langchain_core BaseLLM.stream and generate: on_llm_start, on_llm_new_token, on_llm_end",
    fix="Leave `on_llm_start` and `on_llm_end` to langchain-core, and pass on the `run_manager` "
    "that you are given.",
)
def callbacks_in_order(model: Subject) -> None:
    for trace in ordinary(model):
        kinds = [kind for kind in trace.kinds if kind != "chunk"]
        tokens = kinds.count("token")
        model.expect(
            kinds == ["start", *["token"] * tokens, "end"] and len(trace.runs) == 1,
            f"{trace.path} called {_short(kinds)} on {len(trace.runs)} run(s)",
            LISTENER,
            listened(trace.path, trace.prompts[0]),
            "names = [name for name, *_ in listener.seen]",
            "assert names == ['start', *['token'] * names.count('token'), 'end'], names",
            "assert len({run_id for _, run_id, _ in listener.seen}) == 1, listener.seen",
        )


def _short(kinds: list[str]) -> str:
    """Return the callbacks in order, repeated ones once."""
    short = [k for i, k in enumerate(kinds) if i == 0 or kinds[i - 1] != k]
    return ", ".join(f"on_llm_{k if k != 'token' else 'new_token'}" for k in short) or "nothing"


@area.clause(
    7,
    "The text in `on_llm_end` is the text that the caller gets.",
    level="contract",
    why="Traces, costs and evaluations are made of other text than the user has seen.",
    source="langchain_core BaseCallbackHandler.on_llm_end: «response: The response which was "
    "generated.»",
    fix="Change the text inside `_call` and `_stream`, not in an `invoke` or `stream` of your own.",
)
def end_has_the_text(model: Subject) -> str | None:
    looked = []
    for trace in ordinary(model):
        ends = trace.of("end")
        if len(ends) != 1:
            continue  # TOKEN-06 reports it
        looked.append(trace.path)
        model.expect(
            ends[0].text == trace.text,
            f"{trace.path} gave {shown(trace.text)}, and on_llm_end {shown(ends[0].text)}",
            LISTENER,
            f"got = {listened(trace.path, trace.prompts[0])}",
            "assert listener.of('end') == [got], (listener.of('end'), got)",
        )
    if not looked:
        raise Skipped("no call ends with one on_llm_end")
    return None


@area.clause(
    8,
    "Tokens that are reported during `invoke` and `ainvoke` join to the answer.",
    level="contract",
    why="Interfaces that show the tokens of a call show text twice, or text that was cut off.",
    source=_CALLBACK,
    fix="Where `_call` joins what `_stream` yields, let only one of them report; cut stops off "
    "before you report.",
)
def tokens_join_to_the_answer(model: Subject) -> str | None:
    quiet = []
    for trace in ordinary(model):
        if trace.path in STREAMS:
            continue
        tokens = texts(trace, "token")
        if not tokens:
            quiet.append(trace.path)
            continue
        model.expect(
            "".join(tokens) == trace.text,
            f"{trace.path} gave {shown(trace.text)} and reported {shown(''.join(tokens))}",
            LISTENER,
            f"got = {listened(trace.path, trace.prompts[0])}",
            "tokens = ''.join(listener.of('token'))",
            "assert tokens in ('', got), (tokens, got)",
        )
    return f"{' and '.join(quiet)} report no tokens, which is allowed" if quiet else None


def _batches(model: Subject) -> tuple[tuple[str, ...], list[str]]:
    """Return the batches to look at; a slow model's is that which other clauses look at too."""
    return (("abatch",), several(model)) if model.slow else (_BATCHES, model.numbered(2))


@area.clause(
    9,
    "In a batch each prompt is a run of its own, with its own text in `on_llm_end`.",
    level="contract",
    why="Traces mix up the prompts of a batch, or do not show them.",
    source="langchain_core BaseLLM.generate: a run manager for each prompt",
    fix="Leave `batch` and `abatch` to langchain-core; in a `_generate` of your own, keep the "
    "order of the prompts.",
)
def batch_runs(model: Subject) -> str | None:
    model.text()
    paths, prompts = _batches(model)
    for path in paths:
        trace = model.answered(path, *prompts)
        runs = by_prompt(trace)
        for prompt, text in zip(trace.prompts, trace.texts, strict=False):
            own = runs.get(prompt, [])
            ends = [mark.text for marks in own for mark in marks if mark.kind == "end"]
            model.expect(
                len(own) == 1 and ends == [text],
                f"{path}: the prompt {shown(prompt)} has {len(own)} run(s) that end with "
                f"{shown(ends)}, and its answer is {shown(text)}",
                LISTENER,
                f"prompts = {trace.prompts!r}",
                f"texts = {listened(path, *trace.prompts)}",
                "runs = {run_id: what for name, run_id, what in listener.seen if name == 'start'}",
                "ends = {runs[run]: what for name, run, what in listener.seen if name == 'end'}",
                "assert sorted(runs.values()) == sorted(prompts), runs",
                "assert [ends[prompt] for prompt in prompts] == texts, (ends, texts)",
            )
    return None if paths is _BATCHES else "only abatch was called, since the model is slow"


@area.clause(
    10,
    "Callbacks in a list of configs hear of their own prompt only.",
    level="contract",
    why="One user's prompts and answers arrive in another user's trace.",
    source="langchain_core BaseLLM.batch takes a list of configs, and hands on "
    "`[c.get('callbacks') for c in config]`",
    fix="Leave `batch` and `abatch` to langchain-core, or use "
    "`langchain_core.runnables.config.get_config_list`.",
)
def batch_configs(model: Subject) -> str | None:
    model.text()
    prompts = model.numbered(2)
    paths = ("abatch",) if model.slow else _BATCHES
    for path in paths:
        script = (
            LISTENER,
            "a, b = listener, Listener()",
            f"prompts = {prompts!r}",
            f"asyncio.run(llm.{path}(prompts, [{{'callbacks': [a]}}, {{'callbacks': [b]}}]))"
            if path in ASYNC
            else f"llm.{path}(prompts, [{{'callbacks': [a]}}, {{'callbacks': [b]}}])",
            "assert a.of('start') == prompts[:1], a.of('start')",
            "assert b.of('start') == prompts[1:], b.of('start')",
            "assert len(a.of('end')) == len(b.of('end')) == 1",
        )
        for prompt, trace in zip(prompts, _heard(model, path, prompts, script), strict=True):
            starts = [mark.text for mark in trace.of("start")]
            model.expect(
                starts == [prompt] and len(trace.of("end")) == 1,
                f"{path}: the callbacks of the prompt {shown(prompt)} heard of {shown(starts)}",
                *script,
            )
    return None if paths is _BATCHES else "only abatch was called, since the model is slow"


def _heard(model: Subject, path: str, prompts: list[str], script: tuple[str, ...]) -> list[Trace]:
    """Return what the callbacks of each prompt of a batch hear, given a config for each."""
    traces = [Trace(path, [prompt]) for prompt in prompts]
    configs = [{"callbacks": [Recorder(trace)]} for trace in traces]
    model.calls += len(prompts)
    try:
        call_as_given(
            model.llm, path, list(prompts), configs, {},
            seconds=model.timeout, run_async=model.run_async,
        )  # fmt: skip
    except NoAnswer:
        raise
    except Exception as error:
        model.answered(path, *prompts)  # it is reported there if it does not work at all
        message = f"{path} with a list of configs raised {describe_error(error)}"
        model.expect(False, message, *script)
    return traces


@area.clause(
    11,
    "Tokens of a batch are reported on the run of their own prompt.",
    level="production",
    why="An interface that shows the tokens of several prompts shows all of them under the first.",
    source="This project's. langchain-core hands `_generate` the run manager of the first prompt "
    "only («TODO: support multiple run managers»).",
    fix="Use `langchain_wrap.LLM`, or report no tokens outside of `_stream` and `_astream`.",
)
def batch_tokens(model: Subject) -> str | None:
    model.text()
    looked = []
    paths, prompts = _batches(model)
    for path in paths:
        trace = model.answered(path, *prompts)
        if not trace.of("token") and model.streams and not model.slow:
            config = {"callbacks": [wants_every_chunk()]}
            trace = model.call(path, *prompts, config=config)
        if trace.error is not None or not trace.of("token"):
            continue
        looked.append(path)
        for prompt, text in zip(trace.prompts, trace.texts, strict=False):
            own = [mark for marks in by_prompt(trace).get(prompt, []) for mark in marks]
            tokens = "".join(mark.text for mark in own if mark.kind == "token")
            model.expect(
                tokens == text,
                f"{path}: the run of {shown(prompt)} reported {shown(tokens)}, and its answer is "
                f"{shown(text)}",
                LISTENER,
                f"prompts = {trace.prompts!r}",
                f"texts = {listened(path, *trace.prompts)}",
                "seen = listener.seen",
                "runs = {prompt: run_id for name, run_id, prompt in seen if name == 'start'}",
                "for prompt, text in zip(prompts, texts):",
                "    own = [w for n, run, w in seen if (n, run) == ('token', runs[prompt])]",
                "    assert ''.join(own) in ('', text), (prompt, own)",
            )
    if not looked:
        raise Skipped("no tokens are reported in a batch")
    return None
