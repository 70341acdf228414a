"""STOP: where a completion ends when its caller says so."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from langchain_wrap.checks.clause import Area, Check, Skipped
from langchain_wrap.checks.probes import stopping
from langchain_wrap.checks.probes.paths import PATHS, code
from langchain_wrap.checks.probes.stopping import Said, expect_cut, heard, said
from langchain_wrap.checks.subject import Subject, shown

area = Area("STOP", "Stops")

IDS = {path: f"STOP-{number:02}" for number, path in enumerate(PATHS, 1)}
"""The clause that says whether a path honours stops at all."""

_CUT = "«Model output is cut off at the first occurrence of any of these substrings.»"
BASE = f"langchain_core BaseLLM._generate, LLM._call and BaseLLM._stream, on `stop`: {_CUT}"

_WHY = (
    "Agents run past their own tool calls and invent the results; a chain's answer goes on into "
    "the next question."
)
_METHODS = {
    "invoke": "`_call`",
    "ainvoke": "`_acall`",
    "batch": "`_call` (or `_generate`)",
    "abatch": "`_acall` (or `_agenerate`)",
    "stream": "`_stream`",
    "astream": "`_astream`",
}


def _honours(path: str) -> Check:
    def check(model: Subject) -> str | None:
        answer = said(model)
        expect_cut(model, path, answer, [answer.stop], "does not honour stops")
        return structural(answer)

    return check


def structural(answer: Said) -> str | None:
    """Return the note that belongs to a check of a model whose answers vary."""
    if not answer.varies:
        return None
    return "the model's answers vary: only that nothing comes after the stop was checked"


for _path in PATHS:
    area.clause(
        int(IDS[_path].rpartition("-")[2]),
        f"`{_path}` honours stops.",
        level="contract",
        why=_WHY,
        source=BASE,
        fix=f"Let {_METHODS[_path]} take `stop`, and hand it to the service or cut the text there; "
        f"an override of `{_path}` must hand `stop` on. If the model cannot stop: `raise "
        "NotImplementedError` when `stop` is given.",
    )(_honours(_path))


def paths_of(model: Subject, *wanted: str) -> list[str]:
    """Return the paths on which it makes sense to look closer; the first only if calls are slow.

    Raises:
        Skipped: None of them honours stops, as their own clauses have reported.
    """
    left = [path for path in wanted if not model.failed(IDS[path])]
    if not left:
        ids = model.failed(*(IDS[path] for path in wanted))
        verb = "reports" if len(ids) == 1 else "report"
        raise Skipped(f"stops are not honoured, as {' and '.join(ids)} {verb}")
    return left[:1] if stopping.slow(model) else left


def steady(model: Subject) -> Said:
    """Return an answer that is the same each time.

    Raises:
        Skipped: There is none.
    """
    answer = said(model)
    if answer.varies:
        raise Skipped("the model's answers vary, so where exactly they must end is not known")
    return answer


@area.clause(
    7,
    "A stop is found across the border of two chunks.",
    level="contract",
    why="Tokens do not end where stops begin: a stop is missed as soon as it comes in two parts, "
    "and that depends on the words before it.",
    source=BASE,
    fix="In `_stream`, look for stops in the text so far, and hold back the end of it as long as "
    "it may still become a stop. `langchain_wrap.LLM` does that.",
)
def across_borders(model: Subject) -> None:
    answer = steady(model)
    for path in paths_of(model, "stream", "astream"):
        trace = model.answered(path, answer.prompt)
        stop = _on_a_border([c for c in trace.chunks if isinstance(c, str)], answer.text)
        if stop is None:
            raise Skipped(f"no two chunks of {path} have a border that a stop can lie on")
        expect_cut(model, path, answer, [stop], "misses a stop that comes in two chunks")


def _on_a_border(chunks: Sequence[str], text: str) -> str | None:
    """Return a stop that begins in one chunk and ends in the next, nowhere else before."""
    if "".join(chunks) != text:
        return None
    found = []
    at = 0
    for left, right in itertools.pairwise(chunks):
        at += len(left)
        for size in (2, 1):
            stop = left[-size:] + right[:size]
            begin = at - len(left[-size:])
            if left and right and begin >= 1 and text.find(stop) == begin:
                blank = text[begin - 1].isspace() or stop[0].isspace() or stop[-1].isspace()
                found.append((blank, abs(begin - len(text) / 3), stop))
    return min(found)[2] if found else None


@area.clause(
    8,
    "Of several stops, the one that comes first in the text counts.",
    level="contract",
    why="Which stop is named first in the list is chance; text that must not be there gets "
    "through.",
    source=BASE,
    fix="Look for all stops and cut at the smallest place: `min(text.find(s) for s in stop if s in "
    "text)`.",
)
def earliest(model: Subject) -> str | None:
    answer = said(model)
    if answer.late is None:
        raise Skipped(f"the answer is too short to hold two stops: {shown(answer.text)}")
    stops = [answer.late, answer.stop]
    if stopping.slow(model):
        stops = _several(answer)  # the same call tells about both
    for path in paths_of(model, "invoke", "stream"):
        expect_cut(model, path, answer, stops, "does not cut at the stop that comes first")
    return structural(answer)


@area.clause(
    9,
    "A stop is literal text, never a regular expression.",
    level="contract",
    why="`<|end|>` cuts at every `<`, `.` at the first character, and `(` raises.",
    source="langchain_core BaseLLM._generate, on `stop`: «substrings».",
    fix="Use `str.find`, or `re.escape` each stop.",
)
def literal(model: Subject) -> str | None:
    answer = said(model)
    for path in paths_of(model, "invoke", "stream"):
        if answer.varies:
            _expect_no_cut(model, path, answer, [f"{answer.stop}|{stopping.absent('')[0]}"])
            continue
        for stops in _patterns(answer.text, few=stopping.slow(model)):
            expect_cut(model, path, answer, stops, "does not take a stop literally")
    return structural(answer)


def _patterns(text: str, *, few: bool) -> list[list[str]]:
    """Return lists of stops that would be other places if they were patterns; four at most each.

    Those of the first list are not in the text.
    """
    unheard = stopping.absent(text)[0]
    word = max(text.split(), key=len, default=text)
    alternatives = [f"{word}|{unheard}", f"<|{word}|>", f"[{word[0]}]+", f"(?:{word}"]
    lists = [[stop for stop in alternatives if stop not in text]]
    if not few:
        signs = (".", "(", "[", "*", "+", "?")
        lists.append([sign for sign in signs if sign not in text][:4])
        # Not where they would leave nothing, or a blank at the end: these are other clauses'.
        places = [(sign, text.find(sign)) for sign in signs]
        lists += [[sign] for sign, at in places if at > 0 and not text[at - 1].isspace()]
    return [stops for stops in lists if stops]


def _expect_no_cut(model: Subject, path: str, answer: Said, stops: list[str]) -> None:
    """Fail unless a varying answer still holds what it often does, twice."""
    texts = [*heard(model, path, answer.prompt, stops)]
    if not any(answer.stop in text for text in texts):
        texts = heard(model, path, answer.prompt, stops, again=True)
    model.expect(
        any(answer.stop in text for text in texts),
        f"{path} with stop={stops} gave {shown(texts[0])}, as if it were cut at {answer.stop!r}",
        f"got = {code(path, [answer.prompt], stop=stops)}",
        f"assert {answer.stop!r} in got, got",
    )


@area.clause(
    10,
    "Several stops work, also where some are not in the text.",
    level="contract",
    why="Chains and agents give lists of stops of which one at most occurs.",
    source=BASE,
    fix="Look for each stop, and leave out those that are not found (`find` gives -1).",
)
def several(model: Subject) -> str | None:
    answer = said(model)
    stops = _several(answer) if stopping.slow(model) else _several(answer, late=False)
    for path in paths_of(model, "invoke", "stream"):
        expect_cut(model, path, answer, stops, "goes wrong with stops that are not in the text")
    return structural(answer)


def _several(answer: Said, *, late: bool = True) -> list[str]:
    """Return stops of which the first and the last are not in the text."""
    before, after = stopping.absent(answer.text, 2)
    return [before, *([answer.late] if late and answer.late else []), answer.stop, after]
