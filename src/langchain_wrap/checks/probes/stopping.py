"""Stopping: stops from a model's own answers, and whether it honours them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from langchain_wrap.checks.clause import Failed, Skipped
from langchain_wrap.checks.probes.paths import BATCHES, script
from langchain_wrap.checks.probes.trace import Trace
from langchain_wrap.checks.shared import Shared, cut, describe_error, shown

_SLOW = 0.15
"""Seconds that a call of a slow model takes."""

_UNHEARD = ("Zq7#", "#xKw")
"""Text that answers do not contain; `absent` makes sure."""

_FREQUENT = 2
"""How often a stop must be in each sample of a model whose answers vary."""


@dataclass(frozen=True)
class Said:
    """An answer of the model, and stops that are in it."""

    prompt: str
    text: str
    varies: bool
    """Whether the next answer is another one."""
    stop: str
    """One character, so that it lies in one chunk however the text is cut into chunks."""
    late: str | None
    """Another one, whose first place in the text comes after that of `stop`."""

    def cuts(self, stops: Sequence[str]) -> tuple[str, str]:
        """Return what stops may leave: without the stop, and with it."""
        return cut(self.text, stops), cut(self.text, stops, include=True)


def said(model: Shared) -> Said:
    """Return an answer of the model with stops in it, the same for all clauses.

    Raises:
        Skipped: No answer is long enough, or the answers vary too much.
    """
    found = model.once("stops", lambda: (_steady if model.deterministic else _varying)(model))
    if found is None:
        why = "vary too much" if not model.deterministic else "are too short"
        raise Skipped(f"the model's answers {why} to take a stop from them")
    return found


def _steady(model: Shared) -> Said | None:
    for prompt in model.prompts:
        trace = model.call("invoke", prompt)
        if trace.error is None and isinstance(trace.text, str) and len(trace.text) >= 2:
            text = trace.text
            first = _single(text)
            if first is None:
                continue
            after = text.index(first)
            late = _single(text, after=after)
            return Said(prompt, text, False, first, late)
    return None


def _varying(model: Shared) -> Said | None:
    again = (model.call("invoke", again=True) for _ in range(2))
    samples = [model.text(), *(t.text for t in again if isinstance(t.text, str))]
    counts = {c: min(s[1:].count(c) for s in samples) for c in set(samples[0])}
    often = sorted((c for c in counts if counts[c] >= _FREQUENT), key=lambda c: (-counts[c], c))
    if not often:
        return None
    return Said(model.prompt, samples[0], True, often[0], often[1] if often[1:] else None)


def _single(text: str, after: int | None = None) -> str | None:
    """Return a character whose first place in a text is not its beginning.

    Letters and digits first, that follow no blank (so that stripped text does not matter), about
    a third into what is left.
    """
    begin = 1 if after is None else after + 1
    at = {c: text.index(c) for c in set(text)}
    places = [p for p in at.values() if p >= begin]
    aim = begin + (len(text) - begin) / 3
    if not places:
        return None
    return text[
        min(
            places,
            key=lambda p: (not text[p].isalnum(), text[p - 1].isspace(), abs(p - aim), p),
        )
    ]


def slow(model: Shared) -> bool:
    """Whether a model takes its time, so that checks look at fewer paths; the same throughout."""
    return model.once("slow for stops", lambda: model.seconds > _SLOW)


def absent(text: str, count: int = 1) -> list[str]:
    """Return strings that a text does not contain."""
    return [stem * n for n in range(1, 9) for stem in _UNHEARD if stem * n not in text][:count]


def prompts(model: Shared, path: str, prompt: str) -> list[str]:
    """Return what a path is given: a batch has two prompts, if the model is fast."""
    return [prompt] * (2 if path in BATCHES and not slow(model) else 1)


def stopped(
    model: Shared, path: str, prompt: str, stops: Sequence[str], *, again: bool = False
) -> Trace:
    """Call a path with stops, and note if it changes the list."""
    hung: set[str] = model.once("paths hung by stops", set)
    if path in hung:
        raise Skipped(f"{path} does not answer when it is given stops")
    given = list(stops)
    try:
        trace = model.call(path, *prompts(model, path, prompt), again=again, stop=given)
    except Failed:
        hung.add(path)
        raise
    if given != list(stops):
        changed(model).append((path, list(stops), given))
    return trace


def changed(model: Shared) -> list[tuple[str, list[str], list[str]]]:
    """Return the calls that have changed a list of stops: the path, the list before and after."""
    return model.once("changed lists of stops", list)


def refusal(trace: Trace) -> str | None:
    """Return how a call says that it does not take stops."""
    error = trace.error
    refused = isinstance(error, NotImplementedError) or (
        isinstance(error, ValueError) and "stop" in str(error).lower()
    )
    return describe_error(error) if error is not None and refused else None


def heard(
    model: Shared, path: str, prompt: str, stops: Sequence[str], *, again: bool = False
) -> list[str]:
    """Return the texts that a path gives with stops.

    Raises:
        Skipped: It refuses stops, or does not work without them either.
        Failed: It raises something else.
    """
    trace = stopped(model, path, prompt, stops, again=again)
    refused = refusal(trace)
    if refused:
        raise Skipped(f"the model refuses stops: {path} raised {refused}")
    if trace.error is not None:
        asked = prompts(model, path, prompt)
        if model.call(path, *asked).error is not None:
            raise Skipped(f"{path} does not work, with stops or without")
        hint = ""
        if isinstance(trace.error, TypeError) and "stop" in str(trace.error):
            hint = "; give the method the parameter `stop=None`"
        raised = describe_error(trace.error)
        raise Failed(
            f"{path} raised {raised} when called with stop={list(stops)}{hint}",
            script(model.code(path, asked, stop=list(stops))),
        )
    return [text if isinstance(text, str) else repr(text) for text in trace.texts]


def expect_cut(
    model: Shared, path: str, answer: Said, stops: Sequence[str], complaint: str
) -> list[str]:
    """Fail unless a path gives the answer up to the first of the stops in it.

    Args:
        model: The model.
        path: One of the six.
        answer: The answer without stops.
        stops: The stops, of which none overlaps another in the text.
        complaint: What is said of a failure, after the name of the path.

    Returns:
        What the path gives.

    Raises:
        Failed: It gives something else, twice.
        Skipped: It refuses stops; its answers vary after all; or it answers something else than
            `invoke`, with stops or without.
    """
    answer_of_invoke = answer.text
    texts = heard(model, path, answer.prompt, stops)
    if all(_fits(text, answer, stops) for text in texts):
        return texts
    again = heard(model, path, answer.prompt, stops, again=True)
    if all(_fits(text, answer, stops) for text in again):
        if answer.varies:
            return again
        raise Skipped(f"{path} gave two answers to the same call with stops")
    if not answer.varies:
        answer = _own(model, path, answer)
    wrong = [text for text in again if not _fits(text, answer, stops)]
    if not wrong:
        return again
    got = wrong[0]
    if answer.text != answer_of_invoke and got != answer.text:
        raise Skipped(f"{path} gives another answer than invoke, with stops or without")
    if not answer.varies:
        wanted = " or ".join(shown(one) for one in dict.fromkeys(answer.cuts(stops)))
        detail = "the whole answer" if got == answer.text else f"{shown(got)} instead of {wanted}"
    else:
        detail = f"{shown(got)}, which goes on behind it"
    raise Failed(
        f"{path} {complaint}: with stop={list(stops)} it gave {detail}",
        script(*_lines(model, path, answer, stops)),
    )


def _own(model: Shared, path: str, answer: Said) -> Said:
    """Return a path's own answer without stops: other clauses report that it is not invoke's."""
    trace = model.call(path, *prompts(model, path, answer.prompt))
    if trace.error is not None or not isinstance(trace.text, str):
        return answer
    return replace(answer, text=trace.text)


def _fits(text: str, answer: Said, stops: Sequence[str]) -> bool:
    if not answer.varies:
        return text in answer.cuts(stops)
    return not any(stop in text[: len(text) - 1] for stop in stops)


def _lines(model: Shared, path: str, answer: Said, stops: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a script that fails as `expect_cut` does."""
    called = model.code(path, prompts(model, path, answer.prompt), stop=list(stops))
    yield f"got = {called}{'' if path not in BATCHES else '[0]'}"
    if answer.varies:
        for stop in stops:
            yield f"assert {stop!r} not in got[:-1], got"
        return
    found = [stop for stop in stops if stop in answer.text]
    yield f"text = {model.code('invoke', [answer.prompt])}"
    if not found:
        yield "assert got == text, (got, text)"
        return
    stop = min(found, key=answer.text.index)
    yield f"at = text.index({stop!r})"
    yield f"assert got in (text[:at], text[: at + {len(stop)}]), (got, text)"
