"""STOP, its clauses about what stops must leave as it is, and about models without stops."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_wrap.checks.clause import Skipped
from langchain_wrap.checks.clauses.stop import BASE, IDS, area, paths_of, steady, structural
from langchain_wrap.checks.probes import stopping
from langchain_wrap.checks.probes.paths import PATHS, Expression, code
from langchain_wrap.checks.probes.stopping import Said, expect_cut, heard, said
from langchain_wrap.checks.subject import Subject, describe_error, shown


@area.clause(
    11,
    "`stop=None` and `stop=[]` are no stops.",
    level="contract",
    why="Programs that pass on a list of stops pass on an empty one too.",
    source="langchain_core BaseLLM.invoke: `stop: list[str] | None = None`.",
    fix="Write `if stop:` before anything is done with stops, and not `if stop is not None:`.",
)
def no_stops(model: Subject) -> str | None:
    answer = said(model)
    wanted: list[tuple[str, list[str] | None]] = [("invoke", [])]
    if not stopping.slow(model):
        wanted += [
            ("stream", []),
            ("ainvoke", []),
            ("astream", []),
            ("invoke", None),
            ("stream", None),
        ]
    left = paths_of(model, *dict.fromkeys(path for path, _ in wanted))
    for path, stop in wanted:
        if path in left:
            _expect_whole(model, path, answer, stop)
    return structural(answer)


def _expect_whole(model: Subject, path: str, answer: Said, stop: list[str] | None) -> None:
    """Fail unless a call gives what it gives without the parameter."""
    plain = model.call(path, answer.prompt)
    if plain.error is not None:
        raise Skipped(f"{path} does not work, with stops or without")
    called = code(path, [answer.prompt], stop=stop)
    for again in (False, True):
        trace = model.call(path, answer.prompt, again=again, stop=stop)
        refused = stopping.refusal(trace)
        if refused:
            raise Skipped(f"the model refuses stops: {path} raised {refused}")
        if trace.error is None and (answer.varies or trace.text == plain.text):
            return
    raised = trace.error is not None and describe_error(trace.error)
    lines = [f"got = {called}"]
    if not answer.varies:
        lines += [f"text = {code(path, [answer.prompt])}", "assert got == text, (got, text)"]
    did = f"raised {raised}" if raised else f"gave {shown(trace.text)}"
    model.expect(False, f"{path} with stop={stop} {did} instead of {shown(plain.text)}", *lines)


@area.clause(
    12,
    "The caller's list of stops is not changed.",
    level="contract",
    why="The list is often a constant of the program: after the first call, every other call has "
    "other stops.",
    source="This is Python's custom; langchain-core hands the caller's own list to `_call` and "
    "`_stream`.",
    fix="Make a list of your own: `stops = [*(stop or []), *self.stops]`.",
)
def leaves_the_list(model: Subject) -> None:
    answer = said(model)
    # Unsorted in every way, so that sorting shows.
    long, short = stopping.absent(answer.text, 2)
    stops = [long + long, answer.stop, short]
    for path in ("invoke", "ainvoke", "stream", "astream"):
        if stopping.slow(model) and (path != "invoke" or model.outcomes.get("STOP-08") == "passed"):
            break  # the calls so far have to do
        if stopping.changed(model):
            break
        trace = stopping.stopped(model, path, answer.prompt, stops)
        if refused := stopping.refusal(trace):
            raise Skipped(f"the model refuses stops: {path} raised {refused}")
    for path, given, after in stopping.changed(model)[:1]:
        model.expect(
            False,
            f"{path} was given stop={given} and made {after} of it",
            f"stop = {given}",
            code(path, stopping.prompts(model, path, answer.prompt), stop=Expression("stop")),
            f"assert stop == {given}, stop",
        )


@area.clause(
    13,
    "The six ways to call agree on where a stopped answer ends.",
    level="contract",
    why="With the stop in some answers and not in others, nobody can cut it off or rely on it; a "
    "program changes its text when it streams.",
    source="langchain_core Runnable: `stream`, `batch` and their async versions give what `invoke` "
    "gives; LangChain's pages ask for the stop both in and out of the answer, so either will do, "
    "but the same everywhere.",
    fix="Cut in one function that all methods use, and do not strip the text in some of them.",
)
def consistent(model: Subject) -> str | None:
    answer = steady(model)
    ends: dict[str, list[str]] = {}
    working = [path for path in PATHS if not model.failed(IDS[path])]
    for path in working:
        if stopping.refusal(stopping.stopped(model, path, answer.prompt, [answer.stop])):
            continue
        for text in heard(model, path, answer.prompt, [answer.stop]):
            if text in answer.cuts([answer.stop]):
                ends.setdefault(text, []).append(path)
    compared = {path for paths in ends.values() for path in paths}
    if len(compared) < 2:
        raise Skipped("fewer than two ways to call honour stops")
    _expect_one_end(model, answer, [answer.stop], ends)
    if not stopping.slow(model):
        _after_a_blank(model, answer, working)
    included = next(iter(ends)).endswith(answer.stop)
    return f"the stop is {'part' if included else 'no part'} of the answer"


def _after_a_blank(model: Subject, answer: Said, working: Sequence[str]) -> None:
    """Fail if the blank before a stop is kept by some of the paths and stripped by others."""
    text = answer.text
    words = [word for word in text.split() if len(word) > 1 and text.find(f" {word}") > 0]
    words = [word for word in words if text.find(word) == text.find(f" {word}") + 1]
    paths = [path for path in working if _plain(model, path, answer) == text]
    if model.failed("STOP-07"):
        paths = [path for path in paths if "stream" not in path]
    if not words:
        return
    stops = [words[len(words) // 2]]
    ends: dict[str, list[str]] = {}
    for path in paths:
        if stopping.refusal(stopping.stopped(model, path, answer.prompt, stops)):
            continue
        for got in heard(model, path, answer.prompt, stops):
            ends.setdefault(got, []).append(path)
    _expect_one_end(model, answer, stops, ends)


def _plain(model: Subject, path: str, answer: Said) -> object:
    """Return what a path gives without stops."""
    return model.call(path, *stopping.prompts(model, path, answer.prompt)).text


def _expect_one_end(
    model: Subject, answer: Said, stops: list[str], ends: dict[str, list[str]]
) -> None:
    if len(ends) < 2:
        return
    (text, some), (other, others) = sorted(ends.items(), key=lambda end: -len(end[1]))[:2]
    one, two = some[0], others[0]
    got = [code(p, stopping.prompts(model, p, answer.prompt), stop=stops) for p in (one, two)]
    model.expect(
        False,
        f"with stop={stops}, {one} gave {shown(text)} and {two} gave {shown(other)}",
        f"one = {got[0]}",
        f"two = {got[1]}",
        "one, two = (text if isinstance(text, str) else text[0] for text in (one, two))",
        "assert one == two, (one, two)",
    )


@area.clause(
    14,
    "A stop that does not occur changes nothing, and no text that resembles it is lost.",
    level="contract",
    why="The last words of an answer are missing, only sometimes, and only if there are stops.",
    source=BASE,
    fix="If you hold text back because it may become a stop, give it out when the stream ends.",
)
def keeps_the_end(model: Subject) -> None:
    answer = steady(model)
    unheard = stopping.absent(answer.text)[0]
    almost = answer.text[-2:] + unheard
    slow = stopping.slow(model)
    paths = [p for p in ("stream", "invoke", "astream", "ainvoke") if not model.failed(IDS[p])]
    paths = paths or ["stream", "invoke"]
    for path in paths[:1] if slow else paths:
        expect_cut(model, path, answer, [almost], "loses text to a stop that does not occur")
        if not slow:
            expect_cut(model, path, answer, [unheard], "loses text to a stop that does not occur")


@area.clause(
    15,
    "A stop of one call is not remembered for the next.",
    level="contract",
    why="Two callers share one model object: one of them loses text to the other's stops.",
    source="langchain_core BaseLLM.invoke: `stop` is a parameter of the call.",
    fix="Do not store `stop` in the object; pass it on as an argument.",
)
def forgets(model: Subject) -> str | None:
    answer = said(model)
    for path in paths_of(model, "invoke", "stream"):
        _expect_forgotten(model, path, answer)
    return structural(answer)


def _expect_forgotten(model: Subject, path: str, answer: Said) -> None:
    """Fail if a call without stops ends where the one before it was told to."""
    plain = model.call(path, answer.prompt)
    if plain.error is not None:
        raise Skipped(f"{path} does not work, with stops or without")

    def after() -> str:
        heard(model, path, answer.prompt, [answer.stop], again=True)
        return str(model.call(path, answer.prompt, again=True).text)

    message = f"{path} without stops, called after one with stop={[answer.stop]}, gave a cut answer"
    called = [
        code(path, [answer.prompt], stop=[answer.stop]),
        f"got = {code(path, [answer.prompt])}",
    ]
    if answer.varies:
        holds = any(answer.stop in after() for _ in range(3))
        model.expect(holds, message, *called, f"assert {answer.stop!r} in got[:-1], got")
        return
    model.expect_same(
        lambda: plain.text,
        after,
        message,
        f"text = {code(path, [answer.prompt])}",
        *called,
        "assert got == text, (got, text)",
    )


@area.clause(
    16,
    "A model that cannot stop says so, on all ways to call.",
    level="contract",
    why="A program that handles the refusal in `invoke` gets unstopped text from `stream`.",
    source="langchain_core LLM._call, on `stop`: «If stop tokens are not supported consider "
    "raising `NotImplementedError`.»",
    fix="Raise in `_call`, `_acall`, `_stream` and `_astream` alike, or honour stops in all.",
)
def refuses_everywhere(model: Subject) -> str | None:
    try:
        answer = said(model)
        prompt, stop = answer.prompt, answer.stop
    except Skipped:
        prompt, stop = model.prompt, "\n\n"
    refused, took = {}, []
    for path in PATHS:
        trace = stopping.stopped(model, path, prompt, [stop])
        if words := stopping.refusal(trace):
            refused[path] = words
        elif trace.error is None:
            took.append(path)
    if not refused:
        return None
    first = next(iter(refused))
    calls = {path: code(path, [prompt], stop=[stop]) for path in (first, *took[:1])}
    model.expect(
        not took,
        f"{', '.join(refused)} refuse stops ({refused[first]}), and {', '.join(took)} "
        f"{'takes' if len(took) == 1 else 'take'} them",
        "refused = []",
        *(
            f"try:\n    {called}\nexcept (NotImplementedError, ValueError):\n"
            f"    refused.append({path!r})"
            for path, called in calls.items()
        ),
        f"assert len(refused) in (0, {len(calls)}), refused",
    )
    return f"the model refuses stops: {refused[first]}"
