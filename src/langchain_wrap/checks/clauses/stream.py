"""STREAM: what a stream gives, and when."""

from __future__ import annotations

import itertools
from typing import Any

from langchain_core.language_models.llms import BaseLLM
from langchain_core.outputs import GenerationChunk

import langchain_wrap
from langchain_wrap.checks.clause import Area, Skipped
from langchain_wrap.checks.probes import facts, inject, pace
from langchain_wrap.checks.probes.paths import code
from langchain_wrap.checks.probes.snippets import LISTENER, LISTENING
from langchain_wrap.checks.probes.spy import authored
from langchain_wrap.checks.probes.trace import Trace
from langchain_wrap.checks.subject import Subject, describe_error, first_then, shown

area = Area("STREAM", "Streaming")

_LISTENED = f", {LISTENING}"

_METHODS = {"stream": ("_stream",), "astream": ("_astream", "_stream")}
"""The methods of an author that make a path stream."""

_LONG = 200
"""Characters that a model which streams does not give in one chunk; a sentence it may."""

_SIGNS = "Repeat after me: naïve café, 日本語, 👩‍👩‍👧‍👦 🇫🇷 🙂, e\u0301 a\u0308 \U0001d54f."
"""Characters of several bytes, of two UTF-16 units, of several code points."""


def _chunks(path: str, prompt: str, more: str = "") -> str:
    """Return the expression for the list of chunks."""
    called = f"llm.{path}({prompt!r}{more})"
    return f"list({called})" if path == "stream" else f"asyncio.run(read({called}))"


@area.clause(
    1,
    "`stream` works and gives its text in chunks that are `str`.",
    level="contract",
    why="Whoever shows or joins the chunks gets an exception in place of the text.",
    source="langchain_core LLM: «`_stream`: Stream the LLM on the given prompt and input.»",
    fix="Let `_stream` yield `GenerationChunk(text=…)`, with text that is a `str`; "
    "langchain-core's `stream` takes the text out of them.",
)
def gives_text(model: Subject) -> None:
    trace = model.answered("stream")
    _expect_strings(model, trace)


def _expect_strings(model: Subject, trace: Trace) -> None:
    wrong = [chunk for chunk in trace.chunks if not isinstance(chunk, str)]
    model.expect(
        not wrong,
        f"{trace.path} gave {shown(wrong[0])}, a {type(wrong[0]).__name__}" if wrong else "",
        f"chunks = {_chunks(trace.path, model.prompt)}",
        "assert all(isinstance(chunk, str) for chunk in chunks), chunks",
    )


@area.clause(
    2,
    "The chunks of `stream`, joined, are what `invoke` returns.",
    level="contract",
    why="Users get another text as soon as their program streams.",
    source="langchain_core Runnable.stream: «Default implementation of `stream`, which calls "
    "`invoke`.»",
    fix="Let `_call` join what `_stream` yields, or let both read the same answer.",
)
def stream_agrees(model: Subject) -> str | None:
    return _equals_invoke(model, "stream")


@area.clause(
    3,
    "`astream` works, and its chunks, joined, are what `invoke` returns.",
    level="contract",
    why="Servers stream with `astream`; their users get another text than you have tested.",
    source="langchain_core LLM: «`_astream`: Override to provide a native async version of the "
    "`_stream` method.»",
    fix="Leave `_astream` out (langchain-core runs `_stream` in a thread), or let both share "
    "what builds the request and reads the answer.",
)
def astream_agrees(model: Subject) -> str | None:
    trace = model.answered("astream")
    _expect_strings(model, trace)
    return _equals_invoke(model, "astream")


def _equals_invoke(model: Subject, path: str) -> str | None:
    trace = model.answered(path)
    if model.failed("STREAM-01") and not all(isinstance(chunk, str) for chunk in trace.chunks):
        raise Skipped(f"the chunks of {path} are no text, as STREAM-01 reports")
    wanted = model.text()
    if not model.deterministic:
        tries = itertools.chain([trace], (model.call(path, again=True) for _ in range(3)))
        if not wanted or any(one.text for one in tries):
            return "the model's answers vary: only that there is text was checked"
        if len(wanted) < 8:
            raise Skipped(
                f"the model's answers vary and are short: that {path} gave none is chance"
            )
        model.expect(
            False,
            f"{path} gave no text, where invoke returned {shown(wanted)}",
            f"assert {code(path, [model.prompt])}",
        )
    model.expect_same(
        first_then(wanted, lambda: model.call("invoke", again=True).text),
        first_then(trace.text, lambda: model.call(path, again=True).text),
        f"the chunks of {path} do not make up what invoke returns",
        f"got = {code(path, [model.prompt])}",
        f"want = {code('invoke', [model.prompt])}",
        "assert got == want, (got, want)",
    )
    return None


@area.clause(
    4,
    "`stream` and `astream` agree, and report in the end the text that they gave.",
    level="contract",
    why="What is logged, traced and counted is not what the user has read.",
    source="langchain_core BaseLLM.stream: `on_llm_end` is given the sum of the chunks.",
    fix="Leave the callbacks of a run to langchain-core's `stream` and `astream`; if you override "
    "these, give `on_llm_end` the chunks added up.",
)
def sync_and_async_agree(model: Subject) -> str | None:
    traces = [model.answered(path) for path in ("stream", "astream")]
    traces = [trace for trace in traces if all(isinstance(c, str) for c in trace.chunks)]
    ended = [trace for trace in traces if trace.of("end")]
    for trace in ended:
        reported = trace.of("end")[-1].text
        model.expect(
            reported == trace.text,
            f"{trace.path} gave {shown(trace.text)} and reported {shown(reported)} in on_llm_end",
            LISTENER,
            f"got = ''.join({_chunks(trace.path, model.prompt, _LISTENED)})",
            "assert listener.of('end') == [got], (listener.of('end'), got)",
        )
    if not model.deterministic:
        if not ended:
            raise Skipped("the model's answers vary, and its streams report no end to compare")
        return "the model's answers vary: the text was compared with what on_llm_end reports"
    if len(traces) == 2 and not model.failed("STREAM-02", "STREAM-03"):
        model.expect_same(
            first_then(traces[0].text, lambda: model.call("stream", again=True).text),
            first_then(traces[1].text, lambda: model.call("astream", again=True).text),
            "stream and astream differ",
            f"got = {code('astream', [model.prompt])}",
            f"want = {code('stream', [model.prompt])}",
            "assert got == want, (got, want)",
        )
    return None


@area.clause(
    5,
    "Chunks are the new text only, not all the text so far.",
    level="contract",
    why="Who joins the chunks, as every UI does, shows the beginning again and again.",
    source="langchain_core GenerationChunk: «which can be concatenated with other `Generation` "
    "chunks».",
    fix="Yield what has come since the last chunk: `text[len(before):]`.",
)
def gives_deltas(model: Subject) -> str | None:
    traces = [model.call(path) for path in ("stream", "astream")]
    told = [trace for trace in traces if len(texts(trace)) >= 3 and trace.error is None]
    if not told:
        raise Skipped("no stream has the three chunks that it takes to tell")
    for trace in told:
        given = texts(trace)
        grows = all(
            len(after) > len(before) and after.startswith(before)
            for before, after in itertools.pairwise(given)
        )
        # "a", "aa", "aaa" may be new text each: it is if it makes up the whole.
        same = set(given[-1]) == set(given[0][:1]) or (
            model.deterministic and trace.text == model.text()
        )
        model.expect(
            not grows or same,
            f"each chunk of {trace.path} repeats the one before: {shown(given[:4])}",
            f"chunks = {_chunks(trace.path, model.prompt)}",
            "repeats = [after.startswith(before) for before, after in zip(chunks, chunks[1:])]",
            "assert not all(repeats), chunks[:4]",
        )
    return None


def texts(trace: Trace) -> list[str]:
    """Return the chunks of a stream that have text in them."""
    return [chunk for chunk in trace.chunks if isinstance(chunk, str) and chunk]


@area.clause(
    6,
    "A model that streams gives its chunks as they are made, not all in the end.",
    level="contract",
    why="Users look at nothing for the whole time that the answer takes.",
    source="langchain_core Runnable.stream: «Subclasses must override this method if they support "
    "streaming output.»",
    fix="Ask the service for a stream, and yield from its loop as its events come in; do not "
    "collect the answer first and cut it up afterwards.",
)
def really_streams(model: Subject) -> str | None:
    paths_ = [path for path in ("stream", "astream") if _promises(model, path)]
    if not paths_:
        raise Skipped("the model has no `_stream` and no `_astream`, so it promises no streaming")
    quick, short = [], []
    for path in paths_:
        if len(texts(model.answered(path))) < 2 and not _in_one_chunk(model, path):
            short.append(path)
            continue
        late = pace.dealt(model, path)
        model.expect(
            late is None,
            f"the first chunk of {path} came after {late or 0:.2f} s, and all others at once",
            *pace.lines(path, model.prompt),
        )
        method = pace.cut_up(model, path) if _overrides(model, path) else ""
        model.expect(
            not method,
            f"{path} waits for the whole answer of `{method}`, and then cuts it up",
            *(inject.sleeping(method, 0.5) if method else ()),
            *pace.lines(path, model.prompt),
        )
        if model.answered(path).of("chunk")[-1].seconds < pace.TELLING:
            quick.append(path)
    if len(short) == len(paths_):
        raise Skipped(f"no answer was long enough to tell: {shown(model.text())}")
    if quick:
        return f"{' and '.join(quick)}: over too soon to judge by time, judged by chunks"
    return None


def _promises(model: Subject, path: str) -> bool:
    written = set(_METHODS[path]) & set(authored(model.llm))
    return model.streams and (bool(written) or _overrides(model, path))


def _overrides(model: Subject, path: str) -> bool:
    """Whether the author has written the public method."""
    known = {getattr(base, path) for base in (BaseLLM, langchain_wrap.LLM)}
    return getattr(type(model.llm), path) not in known


def _in_one_chunk(model: Subject, path: str) -> bool:
    """Fail if even a long answer comes as one chunk; False if there is no long one."""
    prompt = "\n".join((*model.prompts, *model.numbered(3)))
    trace = model.call(path, prompt)
    size = sum(map(len, texts(trace)))
    if trace.error is not None or (len(texts(trace)) < 2 and size < _LONG):
        return False
    model.expect(
        len(texts(trace)) > 1,
        f"{path} gave an answer of {size} characters in one chunk",
        f"chunks = {_chunks(path, prompt)}",
        "assert len([chunk for chunk in chunks if chunk]) > 1, chunks",
    )
    return True


@area.clause(
    7,
    "The chunks that a model makes are `GenerationChunk` objects.",
    level="contract",
    why="Handlers, tracers and `astream_events` read other fields than a chat chunk or a plain "
    "string has, and break or show nothing.",
    source="langchain_core BaseLLM._stream: `-> Iterator[GenerationChunk]`.",
    fix="Yield `GenerationChunk(text=…)` and hand the same object to the callback: "
    "`run_manager.on_llm_new_token(chunk.text, chunk=chunk)`. Not a str, an `AIMessageChunk` or a "
    "`ChatGenerationChunk`.",
)
def makes_chunks(model: Subject) -> None:
    seen = False
    for path in ("stream", "astream"):
        trace = model.answered(path)
        made = [mark.payload for mark in trace.of("token") if mark.payload is not None]
        if set(_METHODS[path]) & set(authored(model.llm)) and not _overrides(model, path):
            # langchain-core's own stream adds up what `_stream` has given.
            made += [end.payload.generations[0][0] for end in trace.of("end")]
        seen = seen or bool(made)
        wrong = [one for one in made if not isinstance(one, GenerationChunk)]
        model.expect(
            not wrong,
            f"{path} made {type(wrong[0]).__name__} objects" if wrong else "",
            LISTENER,
            _chunks(path, model.prompt, _LISTENED),
            "from langchain_core.outputs import GenerationChunk",
            "made = [one for one in listener.chunks + listener.ends if one is not None]",
            "assert all(isinstance(one, GenerationChunk) for one in made), made",
        )
    if not seen:
        raise Skipped("no chunk object is to be seen: the model has no `_stream` of its own")


@area.clause(
    8,
    "An empty completion can be streamed as well as invoked.",
    level="contract",
    why="A stop at the very beginning, or a model with nothing to say, becomes an exception, and "
    "only for those who stream.",
    source="langchain_core BaseLLM.stream raises «No generation chunks were returned» where "
    "`_stream` yields nothing.",
    fix='Let `_stream` and `_astream` yield one `GenerationChunk(text="")` when there is nothing '
    "to yield.",
)
def streams_nothing(model: Subject) -> None:
    start = model.text()[:3]
    ways: list[tuple[str, dict[str, Any]]] = [("", {})]
    if start:
        ways.insert(0, (model.prompt, {"stop": [start]}))
    for prompt, given in ways:
        came = [
            _streams_nothing(model, path, prompt, given)
            for path in (("stream",) if model.slow else ("stream", "astream"))
            if model.call(path).error is None
        ]
        if any(came):
            return
    raise Skipped("no empty completion could be had: neither by a stop nor by an empty prompt")


def _streams_nothing(model: Subject, path: str, prompt: str, given: dict[str, Any]) -> bool:
    """Fail if a stream raises what invoke answers with an empty text; tell if it is empty."""
    trace = model.call(path, prompt, edge=True, **given)
    if trace.error is None:
        return bool(trace.text == "")
    if model.call("invoke", prompt, edge=True, **given).text != "":
        return False
    model.expect(
        False,
        f"invoke returned an empty text, and {path} raised {describe_error(trace.error)}",
        f"assert {code('invoke', [prompt], **given)} == ''",
        code(path, [prompt], **given),
    )
    return True


@area.clause(
    9,
    "No character is broken where a chunk ends.",
    level="contract",
    why="Users who write anything but plain English see � in place of letters and emoji, or "
    "their program fails to write the text out.",
    source="langchain_core BaseLLM.stream: a chunk's text is a `str`, shown as it comes.",
    fix="Decode the bytes of the whole stream and not of each chunk: "
    "`codecs.getincrementaldecoder('utf-8')()`; hold back half a surrogate pair.",
)
def breaks_no_character(model: Subject) -> str | None:
    paths = ("stream",) if model.slow else ("stream", "astream")
    traces = [model.call(path, _SIGNS) for path in paths]
    works = [trace for trace in traces if trace.error is None]
    if not works:
        raise Skipped("the model does not stream an answer to a prompt with emoji")
    for trace in works:
        broken = [chunk for chunk in texts(trace) if _broken(chunk)]
        if not broken:
            continue
        # A model may say U+FFFD itself.
        whole = model.call("invoke", _SIGNS).text
        own = sum(map(_broken, broken)) <= _broken(whole if isinstance(whole, str) else "")
        chance = not model.deterministic and not any(map(_surrogates, broken))
        model.expect(
            own or chance,
            f"chunks of {trace.path} have broken characters: {shown(broken[:4])}",
            f"chunks = {_chunks(trace.path, _SIGNS)}",
            'kept = [chunk.encode("utf-8", "ignore").decode() for chunk in chunks]',
            'assert kept == chunks and "\\ufffd" not in "".join(chunks), chunks',
        )
    if all(trace.text.isascii() for trace in works):
        raise Skipped("the answers are plain ASCII, where no character can be broken")
    return None


def _broken(text: str) -> int:
    return text.count("\ufffd") + _surrogates(text)


def _surrogates(text: str) -> int:
    return sum("\ud800" <= character <= "\udfff" for character in text)


@area.clause(
    10,
    "What a stream says about itself (`finish_reason`, `model_name`, …) is said once.",
    level="contract",
    why="langchain-core adds the chunks up, so that the trace reads `finish_reason: stopstop`, and "
    "tools that count or filter by it are wrong.",
    source="langchain_core GenerationChunk.__add__: «merge_dicts» concatenates strings and adds "
    "numbers.",
    fix="Put such facts into the `generation_info` of the last chunk only.",
)
def says_facts_once(model: Subject) -> None:
    seen = False
    for path in ("stream", "astream"):
        trace = model.answered(path)
        ends = [end.payload.generations[0][0] for end in trace.of("end") if end.text is not None]
        infos = [getattr(m.payload, "generation_info", None) or {} for m in trace.of("token")]
        info = (ends[-1].generation_info if ends else None) or {}
        seen = seen or bool(facts.leaves(info))
        doubled = facts.doubled(info, infos, facts.names(model.llm))
        model.expect(
            not doubled,
            f"on_llm_end of {path} reports {doubled}",
            LISTENER,
            _chunks(path, model.prompt, _LISTENED),
            "info = listener.ends[0].generation_info",
            *facts.assertions(doubled),
        )
    if not seen:
        raise Skipped("the model says nothing about itself in a stream")
