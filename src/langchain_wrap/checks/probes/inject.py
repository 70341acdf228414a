"""Lines of scripts that put code before an author's method, as the spy does, without the kit."""

from __future__ import annotations

from langchain_wrap.checks.probes.spy import ASYNC, LISTS, Spy


def before(method: str, *lines: str) -> list[str]:
    """Return the lines that let a model run other lines before its author's method.

    Args:
        method: The name of the method.
        lines: What to run; they may use `prompt`, which is a list in methods that take lists.
    """
    is_async = method in ASYNC
    call = "method(prompt, *args, **kwargs)"
    bodies = {
        "_stream": [f"    yield from {call}"],
        "_astream": [f"    async for chunk in {call}:", "        yield chunk"],
    }
    return [
        *choosing(method),
        f"{'async ' if is_async else ''}def before(prompt, *args, **kwargs):",
        *(f"    {line}" for line in lines),
        *bodies.get(method, [f"    return {'await ' if is_async else ''}{call}"]),
        "",
        *putting(method, "before"),
    ]


def sleeping(method: str, seconds: float) -> list[str]:
    """Return the lines that make an author's method take longer."""
    if method in ASYNC:
        return ["import asyncio", *before(method, f"await asyncio.sleep({seconds})")]
    return ["import time", *before(method, f"time.sleep({seconds})")]


def refusing(method: str, bad: str) -> list[str]:
    """Return the lines that make an author's method fail on one prompt with `Refused`."""
    has = f"{bad!r} in prompt" if method in LISTS else f"prompt == {bad!r}"
    raising = f"if {has}: raise Refused('refused')"
    return ["class Refused(RuntimeError):", "    pass", "", *before(method, raising)]


def counting(method: str, seconds: float) -> list[str]:
    """Return the lines that note in `inside` how many prompts are in an author's method."""
    is_async = method in ASYNC
    sleep = f"await asyncio.sleep({seconds})" if is_async else f"time.sleep({seconds})"
    count = "len(prompt)" if method in LISTS else "1"
    return [
        f"import {'asyncio' if is_async else 'time'}",
        "now, inside, lock = [0], [], threading.Lock()",
        "",
        "def enter(count):",
        "    with lock:",
        "        now[0] += count",
        "        inside.append(now[0])",
        "",
        *before(method, f"enter({count})", sleep, f"enter(-{count})"),
    ]


def visited(spy: Spy, prompt: str | None = None) -> str:
    """Return the name of the method that was called last, of those that a prompt came to."""
    found = [v.method for v in spy.visits if prompt is None or prompt in v.prompts]
    return found[-1] if found else spy.methods[0]


def choosing(method: str) -> list[str]:
    """Return the lines that set `method` to an author's method."""
    return [
        'choose = getattr(llm, "_method", None)',
        f'method = choose("{method}") if choose else llm.{method}',
        "",
    ]


def putting(method: str, name: str) -> list[str]:
    """Return the lines that put a function in the place of an author's method.

    `choose` must have been set, as the lines of `before` do.
    """
    return [
        f'llm.__dict__["{method}"] = {name}',
        "if choose:",
        f'    choosing = lambda one: {name} if one == "{method}" else choose(one)',
        '    llm.__dict__["_method"] = choosing',
        "",
    ]
