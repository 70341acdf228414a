"""A crowd: many callers of one object at once, and whether each gets the answer to its prompt."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from langchain_core.language_models.llms import BaseLLM

from langchain_wrap.checks.clause import Failed, Skipped
from langchain_wrap.checks.probes import deadline
from langchain_wrap.checks.probes.interleave import interleaved, module_of
from langchain_wrap.checks.probes.paths import script
from langchain_wrap.checks.probes.spy import Spy, authored, spying
from langchain_wrap.checks.subject import Subject, describe_error, shown

CALLERS = 32

_ROUNDS = 3


@dataclass(frozen=True)
class Ask:
    """What one caller asks for."""

    path: str
    prompt: str


@dataclass(frozen=True)
class Got:
    """What one caller was given."""

    ask: Ask
    text: Any = None
    error: BaseException | None = None


def in_threads(llm: BaseLLM, asks: Sequence[Ask]) -> list[Got]:
    """Let all ask at once, each in a thread of its own."""
    found: list[Got | None] = [None] * len(asks)
    together = threading.Barrier(len(asks))

    def caller(index: int, ask: Ask) -> None:
        try:
            together.wait()
            if ask.path == "stream":
                text = "".join(llm.stream(ask.prompt))
            else:
                text = llm.invoke(ask.prompt)
            found[index] = Got(ask, text)
        except BaseException as error:
            found[index] = Got(ask, error=error)

    callers = [
        threading.Thread(
            target=contextvars.copy_context().run, args=(caller, *pair), name="caller", daemon=True
        )
        for pair in enumerate(asks)
    ]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    return [got for got in found if got is not None]


async def in_tasks(llm: BaseLLM, asks: Sequence[Ask]) -> list[Got]:
    """Let all ask at once, each in a task of its own."""

    async def caller(ask: Ask) -> Got:
        try:
            if ask.path == "astream":
                return Got(ask, "".join([chunk async for chunk in llm.astream(ask.prompt)]))
            return Got(ask, await llm.ainvoke(ask.prompt))
        except Exception as error:
            return Got(ask, error=error)

    return list(await asyncio.gather(*(caller(ask) for ask in asks)))


def agrees(model: Subject, path: str, other: str = "invoke") -> bool:
    """Return whether a path works and gives what another one gives, as far as that is known."""
    try:
        trace = model.call(path)
    except (Failed, Skipped):
        return False
    return trace.error is None and (
        not model.deterministic or trace.text == model.answered(other).text
    )


def references(model: Subject, prompts: Sequence[str], path: str = "invoke") -> list[Any]:
    """Return what the model answers to each prompt alone, by `invoke` or by `ainvoke`."""
    if path == "ainvoke" and agrees(model, path):
        path = "invoke"  # has been asked already
    return [model.answered(path, prompt).text for prompt in prompts]


def several(model: Subject) -> list[str]:
    """Return the few different prompts that the checks of this model share."""
    if model.slow:
        return [*model.numbered(1), model.prompt]
    return model.numbered(4)


def is_refusal(error: BaseException) -> bool:
    """Return whether an error says that there are too many callers, and no more than that."""
    name = type(error).__name__
    return (
        "RateLimit" in name or "QueueFull" in name or getattr(error, "status_code", 0) in (429, 503)
    )


def patience(model: Subject, calls: int) -> float:
    """Return the seconds after which that many calls, one after another, count as hung."""
    return round(model.timeout + 3 * calls * model.seconds, 1)


class Crowd:
    """The check of one model with many callers.

    A text that differs is no proof yet: engines that compute several prompts together may round
    otherwise. Proof is an answer that belongs to another prompt; or one that differs again and
    again, while the same crowd that asks for one and the same thing gets equal answers.
    """

    def __init__(self, model: Subject, *, asynchronous: bool) -> None:
        self.model = model
        self.asynchronous = asynchronous
        whole, streamed = ("ainvoke", "astream") if asynchronous else ("invoke", "stream")
        model.answered(whole)
        self.paths = [whole]
        if model.streams and agrees(model, streamed, whole):
            self.paths.append(streamed)
        self.prompts = self._prompts()
        self.wanted = dict(zip(self.prompts, references(model, self.prompts, whole), strict=True))
        count = model.affordable(CALLERS, least=4)
        self.asks = [
            Ask(self.paths[i // len(self.prompts) % len(self.paths)], prompt)
            for i, prompt in enumerate((self.prompts * CALLERS)[:count])
        ]

    def _prompts(self) -> list[str]:
        known = several(self.model)
        more = int(0.6 / max(self.model.seconds, 1e-6))
        return self.model.numbered(min(16, more)) if more > len(known) else known

    def ask(self, asks: Sequence[Ask], rounds: int = 1) -> list[list[Got]]:
        """Let all ask at once, while threads change places in the model's own code."""
        model, llm = self.model, self.model.llm
        model.calls += rounds * len(asks)
        seconds = patience(model, rounds * len(asks))

        async def in_one_loop() -> list[list[Got]]:
            return [await in_tasks(llm, asks) for _ in range(rounds)]

        try:
            with spying(llm, Spy(around=interleaved)):
                if self.asynchronous:
                    return model.run_async(in_one_loop, seconds)
                return model.run(lambda: [in_threads(llm, asks) for _ in range(rounds)], seconds)
        except deadline.NoAnswer as late:
            raise Failed(f"{len(asks)} callers at once: {late}", self.repro()) from None

    def check(self) -> str | None:
        """Check that each caller gets the answer to its own prompt."""
        if not self.model.deterministic:
            return self._check_varying()
        rounds = self.ask(self.asks, _ROUNDS if self._is_quick else 1)
        if len(rounds) == 1 and any(self._is_wrong(got) for got in rounds[0]):
            rounds += self.ask(self.asks, _ROUNDS - 1)
        self._fail_of_errors(rounds)
        wrong = [[got for got in one if self._is_wrong(got)] for one in rounds]
        for got in chain.from_iterable(wrong):
            if got.text in self.wanted.values():
                self._fail_of_mixing(got)
        foreign = [got for got in chain.from_iterable(wrong) if self._names_another(got)]
        if len(foreign) >= 2:
            self._fail_of_mixing(foreign[0])
        different = [one[0] for one in wrong if one and one[0].error is None]
        if len(different) >= 2:
            self._judge(different[0])
        if len(set(self.wanted.values())) == 1:
            raise Skipped("the model answers the same to every prompt: nothing could be mixed up")
        return None

    @property
    def _is_quick(self) -> bool:
        return self.model.seconds * len(self.asks) < 1.0

    def _is_wrong(self, got: Got) -> bool:
        return bool(got.text != self.wanted[got.ask.prompt])

    def _judge(self, got: Got) -> None:
        """Tell a mixed-up answer from one that only comes out otherwise under load."""
        model, prompt = self.model, got.ask.prompt
        if model.call(self.paths[0], prompt, again=True).text != self.wanted[prompt]:
            raise Skipped("the model's answers to one prompt vary, so equality cannot be asked")
        (equal,) = self.ask([Ask(ask.path, prompt) for ask in self.asks])
        if any(one.error is None and self._is_wrong(one) for one in equal):
            raise Skipped(
                "the model answers otherwise when many ask at once, even if all ask the same: "
                "whether answers are mixed up cannot be told"
            )
        self._fail_of_mixing(got)

    def _fail_of_mixing(self, got: Got) -> None:
        raise Failed(
            f"{len(self.asks)} callers at once: {got.ask.path}({got.ask.prompt!r}) got "
            f"{shown(got.text)}; alone it gets {shown(self.wanted[got.ask.prompt])}",
            self.repro(),
        )

    def _fail_of_errors(self, rounds: Sequence[Sequence[Got]]) -> None:
        failed = [[got.error for got in one if got.error is not None] for one in rounds]
        errors = [error for one in failed for error in one]
        for error in errors:
            if is_refusal(error):
                raise Skipped(
                    f"the model does not take {len(self.asks)} callers at once: "
                    f"{describe_error(error)}"
                )
        if sum(bool(one) for one in failed) >= min(2, len(rounds)):
            raise Failed(
                f"{max(map(len, failed))} of {len(self.asks)} callers at once got an "
                f"error, such as {describe_error(errors[0])}; alone they get none",
                self.repro(),
            )

    # --- models whose answers vary ---

    def _number(self, prompt: str) -> str:
        return prompt[:4] if prompt[:4].isdigit() else ""

    def _names_another(self, got: Got) -> bool:
        own = self._number(got.ask.prompt)
        others = {self._number(prompt) for prompt in self.prompts} - {own, ""}
        text = str(got.text)
        return (
            not got.error
            and bool(own)
            and own not in text
            and any(number in text for number in others)
        )

    def _check_varying(self) -> str:
        alone: Callable[[], bool] = lambda: all(  # noqa: E731
            self._number(prompt) in str(self.model.call(self.paths[0], prompt, again=True).text)
            for prompt in self.prompts
        )
        told = self.model.seconds < 0.05 and alone()
        rounds = self.ask(self.asks, _ROUNDS if self._is_quick else 1)
        if len(rounds) == 1 and any(got.error is not None for got in rounds[0]):
            rounds += self.ask(self.asks)
        self._fail_of_errors(rounds)
        foreign = [got for got in chain.from_iterable(rounds) if self._names_another(got)]
        if not told:
            raise Skipped("the model's answers vary, and do not show which prompt they belong to")
        if len(foreign) >= 2 and all(alone() for _ in range(_ROUNDS * 2)):
            one = foreign[0]
            raise Failed(
                f"{len(self.asks)} callers at once: {one.ask.path}({one.ask.prompt!r}) got "
                f"{shown(one.text)}, which belongs to another prompt",
                self.repro(),
            )
        return "the model's answers vary: only the number in each prompt was looked for"

    # --- showing it ---

    def repro(self) -> str:
        """Return a script that does the same without the kit."""
        names = authored(self.model.llm)
        methods = [getattr(self.model.llm, name) for name in names]
        if choose := getattr(self.model.llm, "_method", None):
            methods = [choose(name) for name in names]
        roots = {module_of(method).partition(".")[0] for method in methods} - {""}
        return script(*_REPRO_TRACE.format(roots=sorted(roots)).splitlines(), *self._asking())

    def _asking(self) -> list[str]:
        numbered = [prompt for prompt in self.prompts if self._number(prompt)][:8]
        times = max(1, len(self.asks) // len(numbered))
        template = _REPRO_TASKS if self.asynchronous else _REPRO_THREADS
        text = template.format(
            prompts=numbered,
            times=times,
            rounds=10 if self._is_quick else 3,
            streamed=self.paths[-1] != self.paths[0],
            wrong=(
                "got != want[prompt]"
                if self.model.deterministic
                else '"".join(filter(str.isdigit, prompt)) not in str(got)'
            ),
        )
        return text.splitlines()


_REPRO_TRACE = """\
def trace(frame, event, arg):  # lets threads change places between two lines of the model
    if frame.f_globals.get("__name__", "").partition(".")[0] in {roots}:
        time.sleep(1e-5)
        return trace

threading.settrace(trace)"""

_REPRO_THREADS = """\
prompts = {prompts}
want = {{prompt: llm.invoke(prompt) for prompt in prompts}}
wrong = []

def ask(prompt, streamed):
    try:
        got = "".join(llm.stream(prompt)) if streamed else llm.invoke(prompt)
    except Exception as error:
        got = error
    if {wrong}:
        wrong.append((prompt, got))

for _ in range({rounds}):
    threads = [
        threading.Thread(target=ask, args=(prompt, {streamed} and i % 2))
        for i in range({times})
        for prompt in prompts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
threading.settrace(None)
assert not wrong, wrong[:3]"""

_REPRO_TASKS = """\
prompts = {prompts}
wrong = []

async def main():
    want = {{prompt: await llm.ainvoke(prompt) for prompt in prompts}}

    async def ask(prompt, streamed):
        try:
            if streamed:
                got = "".join([chunk async for chunk in llm.astream(prompt)])
            else:
                got = await llm.ainvoke(prompt)
        except Exception as error:
            got = error
        if {wrong}:
            wrong.append((prompt, got))

    for _ in range({rounds}):
        await asyncio.gather(
            *(ask(prompt, {streamed} and i % 2) for i in range({times}) for prompt in prompts)
        )

asyncio.run(main())
threading.settrace(None)
assert not wrong, wrong[:3]"""
