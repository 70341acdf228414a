"""What the subjects of the two kits share: calls that are made once, facts, and verdicts."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn, TypeVar

from langchain_core.globals import get_llm_cache
from langchain_core.language_models import BaseLanguageModel

from langchain_wrap.checks.clause import Failed, Skipped
from langchain_wrap.checks.probes import deadline, paths
from langchain_wrap.checks.probes.trace import Trace

_T = TypeVar("_T")

PROMPTS = (
    "The capital of France is",
    "hello there, how are you today?",
    "1 2 3 4 5 6 7 8",
    "Once upon a time there was a small house.",
)
"""The first whose answer has some length is the prompt of most checks."""

_SLOW = 0.5
"""Seconds of a call from which on a whole check would take more than a minute."""

_USEFUL = 4
"""Characters that an answer needs so that it can be cut, joined and compared."""


class Shared:
    """A model under check, of whatever kind; a subclass says of which, and how it is called.

    Calls are remembered, so that checks which look at the same call share it: `call` makes it
    once. What a check changes (fields, spies, caches) it does to a copy of its own: `fresh`.
    """

    def __init__(
        self,
        target: Any,
        *,
        deterministic: bool | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._target = target
        self.llm: Any = _uncached(self.made(target))
        self.timeout = timeout
        self.clause = ""
        """The id of the clause that is being checked."""
        self.calls = 0
        """How many prompts the model was given so far."""
        self.timeline: Trace | None = None
        """The streamed call that the current clause is about."""
        self.outcomes: dict[str, str] = {}
        """What came of the clauses so far, by id: `passed`, `failed` or `skipped`."""
        self._loop = deadline.Loop()
        self._declared = deterministic
        self._deterministic = deterministic
        self._traces: dict[Any, Trace] = {}
        self._broken: dict[str, str] = {}
        self._hung: dict[tuple[str, frozenset[str]], str] = {}
        self._prompts: tuple[str, ...] | None = None
        self._made: dict[str, Any] = {}

    # --- what a subclass says ---

    def made(self, target: Any) -> Any:
        """Return the model that `target` is or makes.

        Raises:
            TypeError: There is none.
        """
        raise NotImplementedError

    def called(self, llm: Any, path: str, prompts: Sequence[Any], **options: Any) -> Trace:
        """Call a model, and return the trace of it.

        Raises:
            NoAnswer: It takes longer than `seconds`.
        """
        raise NotImplementedError

    def code(self, path: str, prompts: Sequence[Any], **kwargs: Any) -> str:
        """Return the expression that does a call and gives its text, or texts in a batch."""
        raise NotImplementedError

    @property
    def streams(self) -> bool:
        """Whether the author has written something that streams."""
        raise NotImplementedError

    def see(self, clause: str) -> str:
        """Return which clause of this kit says what a clause of the LLM's says."""
        return clause

    # --- calls ---

    def call(
        self,
        path: str,
        *prompts: Any,
        llm: Any = None,
        config: dict[str, Any] | None = None,
        seconds: float | None = None,
        again: bool = False,
        edge: bool = False,
        **kwargs: Any,
    ) -> Trace:
        """Call the model by one of the six paths, once for all checks that ask for the same.

        An error that the model raises is in the trace. `llm`, `config` or `again=True` make a
        call of their own. `edge=True` says that nobody promises an answer in time.

        Raises:
            Failed: No answer in time, the first time that this path is hung.
            Skipped: The same, later on, or at the edge.
        """
        prompts = prompts or (self.prompt,)
        key = (path, prompts, repr(kwargs))
        shared = not (llm or config or again)
        if not (shared and key in self._traces):
            if path in self._broken and not kwargs:
                self._skip_broken(path)
            for names in (frozenset[str](), frozenset(kwargs)):
                if (path, names) in self._hung:
                    by = self._hung[path, names]
                    raise Skipped(f"{path} does not answer, as {by} reports")
            self.calls += len(prompts)
            try:
                trace = self.called(
                    llm or self.llm, path, prompts, config=config,
                    seconds=seconds or self.timeout, **kwargs,
                )  # fmt: skip
            except deadline.NoAnswer as error:
                if edge:
                    raise Skipped(f"{path}: {error}") from None
                script = paths.script(f"{self.code(path, prompts, **kwargs)}  # never ends")
                self._hung.setdefault((path, frozenset(kwargs)), self.clause)
                if kwargs:
                    raise Failed(f"{path}: {error}", script) from None
                self._break(path, f"{path}: {error}", script)
            if not shared:
                return trace
            self._traces[key] = trace
        trace = self._traces[key]
        if path in paths.STREAMS:
            self.timeline = trace
        return trace

    def answered(self, path: str, *prompts: Any, **kwargs: Any) -> Trace:
        """Return the trace of a call that must not fail: `call`, with its error as a failure.

        Raises:
            Failed: The model raised an error, the first time that this path does so.
            Skipped: The same, later on.
        """
        trace = self.call(path, *prompts, **kwargs)
        if trace.error is None:
            return trace
        given = {k: v for k, v in kwargs.items() if k not in _OURS}
        script = paths.script(self.code(path, trace.prompts, **given))
        message = f"{path} raised {describe_error(trace.error)}"
        if given or kwargs.keys() - {"seconds"}:
            raise Failed(f"{message} when called with {given}" if given else message, script)
        if path in self._broken:
            self._skip_broken(path)
        self._break(path, message, script)

    def text(self, prompt: str | None = None) -> str:
        """Return what `invoke` answers: what the other paths are compared with."""
        text = self.answered("invoke", prompt or self.prompt).text
        if not isinstance(text, str):
            self._skip_broken("invoke")
        return text

    def once(self, key: str, make: Callable[[], _T]) -> _T:
        """Return what `make` returns; it is called once for all checks that ask by this key."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]  # type: ignore[no-any-return]

    def _break(self, path: str, message: str, script: str) -> NoReturn:
        """Fail the first clause that meets a path which does not work; the next are skipped."""
        self._broken.setdefault(path, self.clause)
        raise Failed(message, script)

    def _skip_broken(self, path: str) -> NoReturn:
        by = self._broken.get(path) or self.see("CALL-01")
        raise Skipped(f"{path} does not work, as {by} reports")

    def run(self, function: Callable[[], _T], seconds: float | None = None) -> _T:
        """Run a check's own calls in a thread, within the deadline.

        Raises:
            NoAnswer: It takes longer.
        """
        return deadline.run(function, seconds or self.timeout)

    def run_async(
        self, function: Callable[[], Coroutine[Any, Any, _T]], seconds: float | None = None
    ) -> _T:
        """Run a check's own coroutine in the model's event loop, within the deadline.

        It is the loop of all async calls; `deadline.run_async` makes a new one.

        Raises:
            NoAnswer: It takes longer.
        """
        return self._loop.run(function, seconds or self.timeout)

    # --- facts ---

    @property
    def missing(self) -> Exception | None:
        """What the first call lacked: a file or a package, so that the model cannot be loaded."""
        first = next(iter(self._traces.values()), None)
        error = first.error if first is not None else None
        return error if isinstance(error, ImportError | FileNotFoundError) else None

    @property
    def name(self) -> str:
        """What the model is called: its class, and its name if it has one."""
        cls = type(self.llm).__name__
        return f"{cls} {self.llm.name}" if self.llm.name else cls

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found out about the model, in sentences."""
        found = []
        if self._deterministic is False:
            found.append(
                "The model's answers to one prompt vary: structural checks took the place of "
                "equality."
            )
        return tuple(found)

    @property
    def prompts(self) -> tuple[str, ...]:
        """Prompts for the checks, the most telling first."""
        if self._prompts is None:
            best = PROMPTS[0]
            for prompt in PROMPTS:
                trace = self.call("invoke", prompt)
                if trace.error is not None or not isinstance(trace.text, str):
                    break
                if len(trace.text.strip()) >= _USEFUL:
                    best = prompt
                    break
            self._prompts = (best, *(p for p in PROMPTS if p != best))
        return self._prompts

    @property
    def prompt(self) -> str:
        """The prompt of most checks."""
        return self.prompts[0]

    def numbered(self, count: int) -> list[str]:
        """Return different prompts, each with a number in front that no other contains."""
        return [f"{1000 + number}: tell me about this item" for number in range(count)]

    @property
    def seconds(self) -> float:
        """What a call takes, by those made so far."""
        self.text()
        times = [t.seconds for t in self._traces.values() if t.path == "invoke" and not t.error]
        return statistics.median(times)

    @property
    def slow(self) -> bool:
        """Whether a call takes so long that clauses make only those that tell most."""
        return self.seconds > _SLOW

    def affordable(self, wanted: int, *, least: int = 4, seconds: float = 3.0) -> int:
        """Return how many calls, of `wanted`, one check may make of a model that takes its time.

        Args:
            wanted: What a fast model is given.
            least: What any model is given.
            seconds: What the calls may take, one after another.
        """
        return max(least, min(wanted, int(seconds / max(self.seconds, 1e-6))))

    @property
    def deterministic(self) -> bool:
        """Whether the model answers the same to the same prompt; declared, or found out."""
        if self._deterministic is None:
            first = self.text()
            repeats = 1 if self.slow else 2
            again = (self.call("invoke", self.prompt, again=True) for _ in range(repeats))
            self._deterministic = all(t.error is None and t.text == first for t in again)
        return self._deterministic

    def fresh(self, **fields: Any) -> Any:
        """Return an object of the same configuration, for a check to change; with `fields` set."""
        made = _uncached(self.made(self._target)) if callable_maker(self._target) else None
        copied = self.llm.model_copy() if made is None else made
        return copied.model_copy(update=fields) if fields else copied

    # --- verdicts ---

    def failed(self, *ids: str) -> list[str]:
        """Return those of some clauses that were checked before and failed."""
        return [id_ for id_ in ids if self.outcomes.get(id_) == "failed"]

    def expect(self, holds: object, message: str, *repro: str) -> None:
        """Fail the clause unless something holds.

        Args:
            holds: Whether it does.
            message: What was seen, with its values.
            repro: The lines of a script that shows it and ends with an exception.
        """
        if not holds:
            raise Failed(message, paths.script(*repro) if repro else "")

    def expect_same(
        self,
        wanted: Callable[[], Any],
        got: Callable[[], Any],
        message: str,
        *repro: str,
    ) -> None:
        """Fail the clause if two ways to the same answer differ, and go on doing so.

        Called only where the model is deterministic. Each way is called again before anything is
        held against the model: if its own answers vary after all, the clause is skipped.

        Args:
            wanted: Makes the reference, anew each time that it is called.
            got: Makes what must be equal to it, likewise.
            message: What it means; the two values are added.
            repro: The lines of a script that shows it and ends with an exception.
        """
        first, second = wanted(), got()
        if first == second:
            return
        rounds = [(wanted(), got()) for _ in range(2)]
        steady = all(reference == first for reference, _ in rounds)
        differing = 1 + sum(one != other for one, other in rounds)
        if self._declared is None and not (steady and differing >= 2):
            self._deterministic = False
            raise Skipped("the model's answers to one prompt vary, so equality cannot be asked")
        raise Failed(
            f"{message}: {shown(second)} instead of {shown(first)}",
            paths.script(*repro) if repro else "",
        )


_OURS = frozenset({"llm", "config", "seconds", "again", "edge"})


def first_then(first: Any, again: Callable[[], Any]) -> Callable[[], Any]:
    """Return a function for `expect_same`: gives what is known, and from then on makes it anew."""
    known = [first]
    return lambda: known.pop() if known else again()


def callable_maker(target: Any) -> bool:
    """Whether a target makes a model, and is none itself."""
    return not isinstance(target, BaseLanguageModel)


def made_by(target: Any, kind: type, name: str, function: str) -> Any:
    """Return the model that a target is or makes.

    Args:
        target: A model, or a function or class that makes one without arguments.
        kind: What a model is.
        name: What it is called in a message.
        function: Which function was given the target.

    Raises:
        TypeError: There is none.
    """
    if isinstance(target, kind):
        return target
    if not callable(target):
        raise TypeError(
            f"{function}() takes {name}, or a function or class that makes one, and was given "
            f"{shown(target)} ({type(target).__name__})"
        )
    made = target()
    if not isinstance(made, kind):
        raise TypeError(
            f"{getattr(target, '__name__', target)} was called to make {name} and returned "
            f"{shown(made)} ({type(made).__name__})"
        )
    return made


def _uncached(llm: Any) -> Any:
    """Return a model that answers each call itself: what a cache gives shows nothing of it."""
    if llm.cache is False or (llm.cache is None and get_llm_cache() is None):
        return llm
    return llm.model_copy(update={"cache": False})


def shown(value: Any, limit: int = 120) -> str:
    """Return a value for a message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def describe_error(error: BaseException) -> str:
    """Return the type and text of an error for a message."""
    return shown_text(f"{type(error).__name__}: {error}")


def shown_text(text: str, limit: int = 300) -> str:
    """Return text for a message, cut to a readable length."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def cut(text: str, stops: Sequence[str], *, include: bool = False) -> str:
    """Return text as stops that do not overlap must leave it."""
    found = [(text.find(stop), stop) for stop in stops if stop in text]
    if not found:
        return text
    start, stop = min(found)
    return text[: start + len(stop) if include else start]
