"""CHAT-STOP: where an answer ends when its caller says so."""

from __future__ import annotations

import itertools

from langchain_wrap.checks.chat.subject import ChatSubject
from langchain_wrap.checks.clause import Area, Check, Skipped
from langchain_wrap.checks.probes.stopping import absent, expect_cut, heard, said
from langchain_wrap.checks.shared import Shared, shown

area = Area("CHAT-STOP", "Stops")

_SOURCE = (
    "langchain_core BaseChatModel._generate, on `stop`: «Optional list of stop words to use when "
    "generating.»; BaseLLM says of them: «Model output is cut off at the first occurrence of any "
    "of these substrings.»"
)
_FIX = (
    "Hand `stop` to the service, or cut the text there; if the model cannot stop: `raise "
    "NotImplementedError` when `stop` is given."
)
_PATHS = {
    "invoke": "`_generate`",
    "ainvoke": "`_agenerate`",
    "stream": "`_stream`",
    "astream": "`_astream`",
}
_VARY = "the model's answers vary: only that nothing comes after the stop was checked"


def _honours(path: str) -> Check:
    def check(model: ChatSubject) -> str | None:
        answer = said(model)
        expect_cut(model, path, answer, [answer.stop], "does not honour stops")
        return _VARY if answer.varies else None

    return check


for _number, (_path, _method) in enumerate(_PATHS.items(), 1):
    area.clause(
        _number,
        f"`{_path}` honours stops.",
        level="contract",
        why="Agents run past their own tool calls and invent the results; a chain's answer goes on "
        "into the next question.",
        source=_SOURCE,
        fix=f"Let {_method} take `stop`. {_FIX}",
    )(_honours(_path))


def _honoured(model: Shared, *paths: str) -> list[str]:
    ids = {path: f"CHAT-STOP-{number:02}" for number, path in enumerate(_PATHS, 1)}
    left = [path for path in paths if not model.failed(ids[path])]
    if not left:
        raise Skipped(f"stops are not honoured, as {' and '.join(ids[p] for p in paths)} report")
    return left


@area.clause(
    5,
    "A stop is found across the border of two chunks.",
    level="contract",
    why="Tokens do not end where stops begin: a stop is missed as soon as it comes in two parts.",
    source=_SOURCE,
    fix="In `_stream`, look for stops in the text so far, and hold back the end of it as long as "
    "it may still become a stop. `langchain_wrap.ChatModel` does that.",
)
def across_borders(model: ChatSubject) -> None:
    model.need_streams()
    answer = said(model)
    if answer.varies:
        raise Skipped("the model's answers vary, so where their chunks end is not known")
    for path in _honoured(model, "stream", "astream"):
        trace = model.ask(path, answer.prompt)
        stop = _on_a_border([str(chunk.text) for chunk in trace.chunks], answer.text)
        if stop is None:
            raise Skipped(f"no two chunks of {path} have a border that a stop can lie on")
        expect_cut(model, path, answer, [stop], "misses a stop that comes in two chunks")


def _on_a_border(chunks: list[str], text: str) -> str | None:
    """Return a stop that begins in one chunk and ends in the next, nowhere else before."""
    if "".join(chunks) != text:
        return None
    said = [chunk for chunk in chunks if chunk]
    found = []
    at = 0
    for left, right in itertools.pairwise(said):
        at += len(left)
        for size in (2, 1):
            stop = left[-size:] + right[:size]
            begin = at - len(left[-size:])
            if begin >= 1 and text.find(stop) == begin:
                blank = text[begin - 1].isspace() or stop[0].isspace() or stop[-1].isspace()
                found.append((blank, abs(begin - len(text) / 3), stop))
    return min(found)[2] if found else None


@area.clause(
    6,
    "The stop itself is not part of the answer.",
    level="production",
    why="Parsers and people see `Observation:` or `<|im_end|>` at the end of answers; on another "
    "path, or with another model, it is not there.",
    source="this project's: langchain-core does not say; OpenAI's API: «The returned text will not "
    "contain the stop sequence.»",
    fix="Cut before the stop: `text[: text.index(stop)]`.",
)
def not_included(model: ChatSubject) -> str | None:
    answer = said(model)
    if _declares(model):
        raise Skipped("the model says that it includes stops (`include_stop`)")
    paths = ("invoke", "stream") if model.streams else ("invoke",)
    for path in _honoured(model, *paths):
        (got, *_) = heard(model, path, answer.prompt, [answer.stop])
        model.expect(
            not got.endswith(answer.stop),
            f"{path} with stop={[answer.stop]} gave {shown(got)}, the stop included",
            f"got = {model.code(path, [answer.prompt], stop=[answer.stop])}",
            f"assert not got.endswith({answer.stop!r}), got",
        )
    return _VARY if answer.varies else None


def _declares(model: ChatSubject) -> bool:
    inner = getattr(model.llm, "llm", None)
    return any(getattr(one, "include_stop", False) is True for one in (model.llm, inner))


@area.clause(
    7,
    "Stops that are not in the answer change nothing, and none is a pattern.",
    level="contract",
    why="Chains and agents give lists of stops of which one at most occurs; `|` or `.` in one of "
    "them cuts answers anywhere.",
    source=_SOURCE,
    fix="Look for each stop with `str.find`, and leave out those that are not found (-1).",
)
def absent_ones(model: ChatSubject) -> str | None:
    answer = said(model)
    if answer.varies:
        raise Skipped("the model's answers vary, so where they end without a stop is not known")
    none = absent(answer.text)[0]
    stops = [none, f"{answer.stop}|{none}", ".+" if ".+" not in answer.text else f"[{none}]"]
    for path in _honoured(model, *(("invoke", "stream") if model.streams else ("invoke",))):
        expect_cut(model, path, answer, stops, "goes wrong with stops that are not in the answer")
    return None
