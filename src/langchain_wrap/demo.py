"""The demo: a small real model in a LangChain chain, and what the package does for it."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Any

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import Runnable
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from langchain_wrap.events import describe_event

if TYPE_CHECKING:
    from langchain_wrap.models import LlamaCpp

Chain = Runnable[dict[str, str], str]

PARALLEL = 8
TEMPLATE = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
"""How SmolLM2-Instruct was taught to see a question."""

CODE = """\
llm = LlamaCpp(model_path="smollm2", temperature=0, n_parallel=8)
chain = prompt | llm | StrOutputParser()
"""
QUESTION = "Why is the sky blue? Answer in one sentence."
PLACES = ("France", "Japan", "Italy", "Egypt", "Peru", "Kenya", "Norway", "India")


def run_demo() -> None:
    """Run all parts of the demo and print what happens."""
    console = Console(highlight=False)
    console.print()
    console.print(Syntax(CODE, "python", background_color="default"))
    llm = _load(console)
    _show_stream(console, llm)
    _show_batch(console, llm)
    _show_stop(console, llm)
    asyncio.run(_show_events(console, llm))
    console.print()
    console.print("Go on with: [bold]langchain-wrap run llama-cpp:smollm2 'Once upon a time'[/]")


def _chain(llm: LlamaCpp, **parameters: Any) -> Chain:
    return PromptTemplate.from_template(TEMPLATE) | llm.bind(**parameters) | StrOutputParser()


def _title(console: Console, text: str) -> None:
    console.print()
    console.rule(f"[bold]{text}", align="left")


def _load(console: Console) -> LlamaCpp:
    from langchain_wrap.models import LlamaCpp
    from langchain_wrap.models.weights import DEFAULT, resolve

    if not console.is_terminal:
        console.print("Loading SmolLM2-135M-Instruct; the first time, about 90 MB are fetched.")
    with console.status("fetching SmolLM2-135M-Instruct (about 90 MB, the first time only)"):
        path = resolve(DEFAULT)
    # Without the prompt cache, so that no part of the demo lives on what another has computed.
    llm = LlamaCpp(
        model_path=DEFAULT, temperature=0, n_parallel=PARALLEL, n_ctx=512, cache_prompt=False
    )
    begin = time.perf_counter()
    with console.status("loading the model"):
        llm.invoke("a", max_tokens=1)
    console.print(f"[dim]{path.name} loaded in {time.perf_counter() - begin:.1f} s")
    return llm


def _show_stream(console: Console, llm: LlamaCpp) -> None:
    _title(console, "One answer, streamed: chain.stream(...)")
    console.print(f"[dim]{QUESTION}")
    begin = time.perf_counter()
    first, count = 0.0, 0
    for piece in _chain(llm, max_tokens=60).stream({"question": QUESTION}):
        first = first or time.perf_counter() - begin
        count += 1
        console.print(piece, end="", markup=False, soft_wrap=True)
    total = time.perf_counter() - begin
    console.print(f"\n[dim]{count} chunks in {total:.2f} s, the first after {first:.2f} s")


def _show_batch(console: Console, llm: LlamaCpp) -> None:
    _title(console, f"{len(PLACES)} prompts: one after another, and chain.batch(...)")
    chain = _chain(llm, max_tokens=32, ignore_eos=True)
    inputs = [{"question": f"Name three things to see in {place}."} for place in PLACES]
    with console.status("in a loop"):
        begin = time.perf_counter()
        for one in inputs:
            chain.invoke(one)
        loop = time.perf_counter() - begin
    with console.status("in a batch"):
        begin = time.perf_counter()
        answers = chain.batch(inputs)
        batch = time.perf_counter() - begin
    table = Table("way", "seconds", "tokens a second", box=None)
    tokens = 32 * len(inputs)
    table.add_row("invoke, in a loop", f"{loop:.2f}", f"{tokens / loop:.0f}")
    table.add_row("batch", f"{batch:.2f}", f"{tokens / batch:.0f}")
    console.print(table)
    console.print(f"The loop took [bold]{loop / batch:.2f} times[/] as long. One of the answers:")
    console.print(Text(" ".join(answers[0].split()), style="dim"))


def find_stop(pieces: list[str]) -> tuple[str, int] | None:
    """Choose a stop that begins in one token and ends in the next, from a real completion.

    Returns:
        The stop and the index of the token that it begins in; None if there is no such place.
    """
    text = "".join(pieces)
    begin = 0
    for index, (left, right) in enumerate(itertools.pairwise(pieces)):
        stop = left[-2:] + right[:3]
        whole = len(left) > 1 and len(right) > 2 and not any(stop in piece for piece in pieces)
        begin += len(left)
        if index >= len(pieces) // 3 and whole and text.find(stop) == begin - 2:
            return stop, index
    return None


def _show_stop(console: Console, llm: LlamaCpp) -> None:
    _title(console, "A stop that lies across the border of two tokens")
    question = {"question": "What is a volcano? Answer in one sentence."}
    pieces = [piece for piece in _chain(llm, max_tokens=30).stream(question) if piece]
    found = find_stop(pieces)
    if found is None:
        console.print("This completion has no place for such a stop.")
        return
    stop, index = found
    text = "".join(pieces)
    cut = _chain(llm, max_tokens=30, stop=[stop]).invoke(question)
    shown = Text("tokens   ")
    for number, piece in enumerate(pieces):
        style = "bold magenta" if number in (index, index + 1) else ""
        shown.append(piece.replace("\n", "⏎"), style).append("│", "dim")
    console.print(shown)
    console.print(Text("stop     ").append(repr(stop), "bold magenta"))
    console.print(Text("result   ").append(cut, "green"))
    as_expected = "yes" if cut == text[: text.index(stop)] else "NO"
    console.print(f"[dim]exactly the text before the stop: {as_expected}")


async def _show_events(console: Console, llm: LlamaCpp) -> None:
    _title(console, 'The events of one call: chain.astream_events(..., version="v2")')
    rows: dict[tuple[str, str], list[str]] = {}
    chain = _chain(llm, max_tokens=12)
    async for event in chain.astream_events({"question": "Who are you?"}, version="v2"):
        rows.setdefault((event["event"], event["name"]), []).append(describe_event(event))
    table = Table("event", "from", "times", "carries", box=None)
    for (kind, name), carried in rows.items():
        shown = Text(" ".join(carried[:4]), overflow="ellipsis", no_wrap=True)
        table.add_row(kind, name, str(len(carried)), shown)
    console.print(table)
