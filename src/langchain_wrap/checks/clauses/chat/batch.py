"""CHAT-BATCH: many conversations at once."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

from langchain_wrap.checks.chat.seam import Seam, standing
from langchain_wrap.checks.chat.snippets import BREAKING
from langchain_wrap.checks.chat.subject import ChatSubject
from langchain_wrap.checks.clause import Area, Check, Skipped
from langchain_wrap.checks.shared import describe_error, shown

area = Area("CHAT-BATCH", "Many at once")

CALLERS = 64
"""How many callers a model has to stand, at once."""

_POISON = "POISON: fail"


class Broken(Exception):
    """What the model raises in a check; no library knows the type."""


def break_poison(text: str) -> None:
    """Fail with a prompt that has the poison in it."""
    if "POISON" in text:
        raise Broken("the model is broken")


def _in_order(path: str, single: str) -> Check:
    def check(model: ChatSubject) -> str | None:
        prompts = model.numbered(2 if model.slow else 5)
        trace = model.ask(path, *prompts)
        model.expect(
            len(trace.texts) == len(prompts),
            f"{path} gave {len(trace.texts)} answers to {len(prompts)} inputs",
            f"got = {model.code(path, prompts)}",
            f"assert len(got) == {len(prompts)}, len(got)",
        )
        if not model.deterministic:
            return "the model's answers vary: only their number was checked"
        wanted = [model.ask(single, prompt).text for prompt in prompts]
        model.expect_same(
            lambda: wanted,
            lambda: model.ask(path, *prompts, again=True).texts,
            f"{path} gives other answers than {single}, or in another order",
            f"got = {model.code(path, prompts)}",
            f"want = [{', '.join(model.code(single, [prompt]) for prompt in prompts)}]",
            "assert got == want, (got, want)",
        )
        return None if len(set(wanted)) > 1 else "all answers are alike: no order was to be seen"

    return check


for _number, (_path, _single) in enumerate((("batch", "invoke"), ("abatch", "ainvoke")), 1):
    area.clause(
        _number,
        f"`{_path}` gives the answers of single calls, in the order of its inputs.",
        level="contract",
        why="Answers are put next to the wrong questions: in evaluations, tables and maps.",
        source=f"langchain_core Runnable.{_path}: outputs are those of the inputs, in order",
        fix=f"Leave `{_path}` to langchain-core, or return the answers in the order of the inputs "
        "(`asyncio.gather` keeps it, `as_completed` does not).",
    )(_in_order(_path, _single))


@area.clause(
    3,
    "With `return_exceptions`, one failure stays its own.",
    level="contract",
    why="A thousand answers are lost for one that failed.",
    source="langchain_core Runnable.batch, on `return_exceptions`: «Whether to return exceptions "
    "instead of raising them.»",
    fix="Leave `batch` and `abatch` to langchain-core, or put the error in the place of its "
    "answer.",
)
def keeps_others(model: ChatSubject) -> None:
    inputs = [*model.numbered(2), _POISON, model.prompt]
    for path in ("batch", "abatch"):
        with model.seam(before=break_poison) as (llm, seam):
            trace = model.attempt(path, *inputs, llm=llm, return_exceptions=True)
        if not seam.visits:
            raise Skipped(f"{path} does not come to the author's methods")
        called = f"llm.{path}({inputs!r}, return_exceptions=True)"
        called = f"asyncio.run({called})" if path == "abatch" else called
        lines = (
            BREAKING,
            "",
            "with standing(llm, Seam(before=fail)) as llm:",
            f"    got = {called}",
            "kinds = [isinstance(one, Exception) for one in got]",
            "assert kinds == [False, False, True, False], got",
        )
        if trace.error is not None:
            model.expect(
                False,
                f"{path} with return_exceptions=True raised {describe_error(trace.error)}",
                *lines,
            )
        kinds = [isinstance(one, BaseException) for one in trace.messages]
        model.expect(
            kinds == [False, False, True, False],
            f"one of {len(inputs)} inputs failed, and {path} gave {shown(trace.texts)}",
            *lines,
        )


@area.clause(
    4,
    "`batch` and `abatch` answer inputs side by side.",
    level="production",
    why="A hundred calls to a service take a hundred times as long as one.",
    source="langchain_core Runnable.batch: «Default implementation runs invoke in parallel using a "
    "thread pool executor.»",
    fix="Leave `batch` to langchain-core, hold no lock around the call, and let `_agenerate` await "
    "an async client.",
)
def side_by_side(model: ChatSubject) -> str | None:
    if _declared(model) == 1:
        raise Skipped("the model says that it takes one call at a time (`concurrency=1`)")
    model.text()
    inputs = model.numbered(3)
    for path in ("batch", "abatch"):
        peak = 0
        for delay in (0.05, 0.3):  # threads start slowly on a busy machine
            with model.seam(delay=delay) as (llm, seam):
                trace = model.attempt(path, *inputs, llm=llm)
            if trace.error is not None or not seam.visits:
                raise Skipped(f"{path} does not come to the author's methods, or fails")
            peak = max(peak, seam.peak, len({v.text for v in seam.visits}) < len(inputs))
            if peak > 1 or len(seam.visits) < len(inputs):
                break
        if len(seam.visits) < len(inputs):
            continue  # all in one call
        called = f"llm.{path}({inputs!r})"
        model.expect(
            peak > 1,
            f"{path} of {len(inputs)} inputs had one at a time in the model",
            "from langchain_wrap.checks.chat.seam import Seam, standing",
            "",
            "seam = Seam(delay=0.3)",
            "with standing(llm, seam) as llm:",
            f"    {f'asyncio.run({called})' if path == 'abatch' else called}",
            "assert seam.peak > 1, seam.peak",
        )
    return None


def _declared(model: ChatSubject) -> Any:
    """Return how many calls a model of ours says that it takes at once."""
    for one in (model.llm, getattr(model.llm, "llm", None)):
        found = getattr(one, "concurrency", None)
        if isinstance(found, int):
            return found
    return None


def _crowd(paths: tuple[str, str], ask: Callable[[Any, list[tuple[str, str]]], Any]) -> Check:
    def check(model: ChatSubject) -> str | None:
        whole, streamed = paths
        count = model.affordable(CALLERS, least=4)
        known = model.numbered(min(16, max(2, count // 4)))
        wanted = {prompt: model.ask(whole, prompt).text for prompt in known}
        used = [whole, streamed] if model.streams else [whole]
        asks = [
            (used[n // len(known) % len(used)], prompt)
            for n, prompt in enumerate((known * CALLERS)[:count])
        ]
        model.calls += len(asks)
        with standing(model.llm, Seam(delay=0.002)) as llm:
            found = ask(model, [(llm, *one) for one in asks])  # type: ignore[misc]
        for (path, prompt), (text, error) in zip(asks, found, strict=True):
            if error is not None:
                if _is_refusal(error):
                    raise Skipped(f"the model refuses {count} callers: {describe_error(error)}")
                model.expect(
                    False,
                    f"{path} raised {describe_error(error)} with {count} callers at once",
                    *_crowd_lines(paths, wanted, model),
                )
            others = {one for other, one in wanted.items() if other != prompt}
            told = _tells(wanted) and prompt[:4] not in text
            wrong = text != wanted[prompt] and (
                text in others or (told and any(other[:4] in text for other in known))
            )
            model.expect(
                not wrong,
                f"{path}({prompt!r}) gave {shown(text)} with {count} callers at once, and alone "
                f"{shown(wanted[prompt])}",
                *_crowd_lines(paths, wanted, model),
            )
        return None if len(set(wanted.values())) > 1 else "all answers are alike: not told apart"

    return check


def _tells(wanted: dict[str, Any]) -> bool:
    """Whether answers tell their prompts: each has the number of its own, and of no other."""
    return all(
        [one for one in wanted if one[:4] in text] == [prompt] for prompt, text in wanted.items()
    )


def _is_refusal(error: BaseException) -> bool:
    name = type(error).__name__
    status = getattr(error, "status_code", 0)
    return "RateLimit" in name or "QueueFull" in name or status in (429, 503)


def _crowd_lines(paths: tuple[str, str], wanted: dict[str, Any], model: ChatSubject) -> list[str]:
    prompts = list(wanted)
    head = [
        "from langchain_wrap.checks.chat.seam import Seam, standing",
        "",
        f"prompts = {prompts!r} * 4",
        f"want = {wanted!r}",
        "with standing(llm, Seam(delay=0.002)) as llm:",
    ]
    if paths[0] == "invoke":
        return [
            "from concurrent.futures import ThreadPoolExecutor",
            *head,
            "    def ask(number):",
            "        if number % 2:",
            "            return ''.join(c.text for c in llm.stream(prompts[number]))",
            "        return llm.invoke(prompts[number]).text",
            "",
            "    with ThreadPoolExecutor(len(prompts)) as pool:",
            "        got = list(pool.map(ask, range(len(prompts))))",
            "assert got == [want[prompt] for prompt in prompts], got",
        ]
    return [
        "import asyncio",
        *head,
        "    async def ask(number):",
        "        if number % 2:",
        "            return ''.join([c.text async for c in llm.astream(prompts[number])])",
        "        return (await llm.ainvoke(prompts[number])).text",
        "",
        "    async def main():",
        "        return await asyncio.gather(*(ask(n) for n in range(len(prompts))))",
        "",
        "    got = asyncio.run(main())",
        "assert got == [want[prompt] for prompt in prompts], got",
    ]


def _in_threads(model: ChatSubject, asks: list[Any]) -> list[tuple[Any, BaseException | None]]:
    found: list[Any] = [None] * len(asks)
    together = threading.Barrier(len(asks))

    def caller(number: int, llm: Any, path: str, prompt: str) -> None:
        try:
            together.wait()
            if path == "stream":
                text = "".join(chunk.text for chunk in llm.stream(prompt))
            else:
                text = str(llm.invoke(prompt).text)
            found[number] = (text, None)
        except BaseException as error:
            found[number] = ("", error)

    def all_of_them() -> None:
        callers = [
            threading.Thread(
                target=contextvars.copy_context().run, args=(caller, n, *ask), daemon=True
            )
            for n, ask in enumerate(asks)
        ]
        for thread in callers:
            thread.start()
        for thread in callers:
            thread.join()

    model.run(all_of_them, _patience(model, len(asks)))
    return found


def _in_tasks(model: ChatSubject, asks: list[Any]) -> list[tuple[Any, BaseException | None]]:
    async def caller(llm: Any, path: str, prompt: str) -> tuple[Any, BaseException | None]:
        try:
            if path == "astream":
                return "".join([chunk.text async for chunk in llm.astream(prompt)]), None
            return str((await llm.ainvoke(prompt)).text), None
        except Exception as error:
            return "", error

    async def all_of_them() -> list[Any]:
        return list(await asyncio.gather(*(caller(*ask) for ask in asks)))

    return model.run_async(all_of_them, _patience(model, len(asks)))


def _patience(model: ChatSubject, calls: int) -> float:
    return model.timeout + 3 * calls * model.seconds


for _number, _paths, _ask, _how in (
    (5, ("invoke", "stream"), _in_threads, "threads"),
    (6, ("ainvoke", "astream"), _in_tasks, "tasks of one event loop"),
):
    area.clause(
        _number,
        f"{CALLERS} callers in {_how} each get the answer to their own messages.",
        level="contract",
        why="A server gives one customer the answer of another.",
        source="langchain_core Runnable.batch calls one object from many threads, `abatch` from "
        "many tasks",
        fix="Keep nothing of a call in `self`: use local variables; make the client thread-safe, "
        "or hold a lock around it (`langchain_wrap` has `concurrency=1`).",
    )(_crowd(_paths, _ask))
