"""Prompts at the edge: empty, very long, and with characters that are rare or no text at all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from langchain_wrap.checks.clause import Skipped
from langchain_wrap.checks.probes.deadline import NoAnswer
from langchain_wrap.checks.probes.paths import Expression, call_as_given, code
from langchain_wrap.checks.probes.trace import Trace
from langchain_wrap.checks.subject import Subject, describe_error, shown

_PATIENCE = 5.0
"""Seconds that an answer may take; nobody promises one in time."""

_BLUNDERS = (
    AttributeError,
    IndexError,
    KeyError,
    NameError,
    RecursionError,
    TypeError,
    UnboundLocalError,
    ZeroDivisionError,
)
"""What a program raises that did not think of a case; an error on purpose is of another type."""


@dataclass(frozen=True)
class Edge:
    """A prompt at the edge."""

    name: str
    """What it is called in a sentence."""
    prompt: str
    code: str
    """Python that makes it."""
    path: str = "invoke"
    is_text: bool = True
    """Whether it can be encoded; if so, so must the answer."""
    complaint: str = ""
    """What Python says of it in an error; no model says so by itself."""


EMPTY = Edge("an empty prompt", "", "''")
# In async, a model that goes on for minutes can be told to stop.
LONG = Edge("a prompt of 50,000 characters", "word " * 10_000, "'word ' * 10_000", path="ainvoke")
_UNICODE = "Zoe\u0308, man\u0303ana, 👩\u200d👩\u200d👧 and 🏳\ufe0f\u200d🌈, हिन्दी, 日本語"
UNICODE = Edge("a prompt with combining marks and emoji", _UNICODE, ascii(_UNICODE))
NUL = Edge(
    "a prompt with a NUL character",
    "one\x00two",
    r"'one\x00two'",
    complaint="embedded null",
)
SURROGATE = Edge(
    "a prompt with a lone surrogate",
    "one \ud83d two",
    r"'one \ud83d two'",
    is_text=False,
    complaint="surrogates not allowed",
)

EDGES = (EMPTY, LONG, UNICODE, NUL, SURROGATE)


def at_edge(model: Subject, edge: Edge) -> Trace:
    """Call the model with a prompt at the edge, once for all checks.

    Raises:
        Skipped: There is no answer in time.
    """
    if model.slow:
        found = model.once("edges", lambda: _all_at_once(model))[edge.name]
    else:
        found = model.once(edge.name, lambda: _called(model, edge))
    if isinstance(found, Skipped):
        raise found
    return found


def _called(model: Subject, edge: Edge) -> Trace | Skipped:
    seconds = min(_PATIENCE, model.timeout)
    try:
        if edge is LONG:
            return _unheard(model, edge, seconds)
        return model.call(edge.path, edge.prompt, seconds=seconds, edge=True)
    except Skipped as late:
        return late


def _all_at_once(model: Subject) -> dict[str, Trace | Skipped]:
    """Call with all of them side by side; what is wrong then is looked at again, alone."""
    with ThreadPoolExecutor(len(EDGES)) as pool:
        found = pool.map(lambda edge: _called(model, edge), EDGES)
    return {edge.name: one for edge, one in zip(EDGES, found, strict=True)}


def _unheard(model: Subject, edge: Edge, seconds: float) -> Trace:
    """Call without callbacks: a model that echoes the prompt would report thousands of tokens."""
    trace = Trace(edge.path, [edge.prompt])
    model.calls += 1
    try:
        trace.texts = call_as_given(
            model.llm, edge.path, [edge.prompt], {}, {}, seconds=seconds, run_async=model.run_async
        )
    except NoAnswer as late:
        raise Skipped(f"{edge.path} of {edge.name}: {late}") from None
    except Exception as error:
        trace.error = error
    return trace


def check_edge(model: Subject, edge: Edge, *, may_refuse: bool = True) -> str | None:
    """Fail the clause unless a prompt at the edge gives text, or an error that says something."""
    model.text()
    model.answered(edge.path)
    trace = at_edge(model, edge)
    if trace.error is not None and not may_refuse:  # it may have nothing to do with the prompt
        trace = model.call(edge.path, edge.prompt, again=True, edge=True)
    wrong = _wrong(trace, edge, may_refuse=may_refuse)
    if wrong and model.slow and edge is not LONG:
        trace = model.call(edge.path, edge.prompt, again=True, edge=True)
        wrong = _wrong(trace, edge, may_refuse=may_refuse)
    model.expect(
        wrong is None,
        f"{edge.path} of {edge.name} {wrong}",
        *_script(edge, may_refuse=may_refuse),
    )
    return f"{edge.name} raises {describe_error(trace.error)}" if trace.error else None


def _wrong(trace: Trace, edge: Edge, *, may_refuse: bool) -> str | None:
    error = trace.error
    if error is None:
        if not isinstance(trace.text, str):
            return f"gave {shown(trace.text)}, a {type(trace.text).__name__}"
        if edge.is_text and not _can_be_encoded(trace.text):
            return f"gave text that cannot be encoded as UTF-8: {shown(trace.text)}"
        if edge.complaint and edge.complaint in trace.text:
            return f"gave the text of an error as the answer: {shown(trace.text)}"
        return None
    if not may_refuse:
        return f"raised {describe_error(error)}"
    if type(error) in _BLUNDERS:
        return (
            f"raised {describe_error(error)}: a slip of the program, which does not tell the "
            "caller what is wrong with the prompt"
        )
    if not str(error).strip():
        return f"raised {type(error).__name__} without a text"
    return None


def _can_be_encoded(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _script(edge: Edge, *, may_refuse: bool) -> list[str]:
    call = f"got = {code(edge.path, [Expression('prompt')])}"
    tail = ["assert isinstance(got, str), type(got)"]
    if edge.is_text:
        tail.append("got.encode()")
    if edge.complaint:
        tail.append(f"assert {edge.complaint!r} not in got, got")
    if not may_refuse:
        return [f"prompt = {edge.code}", call, *tail]
    return [
        f"prompt = {edge.code}",
        "try:",
        f"    {call}",
        f"except ({', '.join(blunder.__name__ for blunder in _BLUNDERS)}):",
        "    raise  # a slip of the program",
        "except Exception as error:",
        "    assert str(error).strip(), f'{type(error).__name__} without a text'",
        "else:",
        *(f"    {line}" for line in tail),
    ]
