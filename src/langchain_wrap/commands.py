"""The commands of `langchain-wrap`.

What is heavy (langchain-core, a model) is imported by the command that needs it, so that `--help`
answers at once.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import rich  # noqa: F401  (the demo draws with it: better to miss it here than in the middle)
import typer

from langchain_wrap._version import __version__
from langchain_wrap.arguments import Params, Spec, checked, parameter, reported
from langchain_wrap.check_command import check
from langchain_wrap.events import describe_event
from langchain_wrap.scaffold.command import new
from langchain_wrap.spec import load, split_spec

if TYPE_CHECKING:
    from langchain_core.language_models.llms import BaseLLM

app = typer.Typer(
    help="Run custom LangChain LLMs from the command line.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Run custom LangChain LLMs from the command line."""


_Prompt = Annotated[
    str, typer.Argument(metavar="PROMPT", show_default=False, help="The prompt; - reads stdin.")
]
_Stops = Annotated[
    list[str] | None, typer.Option("--stop", help="End before this text; may be repeated.")
]
_Events = Annotated[
    bool, typer.Option("--events", help="Print the events of astream_events instead.")
]
_Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON object at the end: text, finish_reason, usage, model. "
        "With --events: one object for each event.",
    ),
]


@app.command()
def run(
    spec: Spec,
    prompt: _Prompt,
    stop: _Stops = None,
    param: Params = None,
    events: _Events = False,
    as_json: _Json = False,
) -> None:
    """Stream a completion to stdout as it arrives."""
    kind, target = checked("SPEC", split_spec, spec)
    parameters = dict(checked("--param", parameter, one) for one in param or ())
    with reported():
        llm, parameters = load(kind, target, parameters)
        text = sys.stdin.read() if prompt == "-" else prompt
        call = {"stop": stop or None, **parameters}
        if events:
            asyncio.run(_write_events(llm, text, call, as_json=as_json))
        elif as_json:
            _write_json(llm, text, call)
        else:
            _write_text(llm, text, call)


app.command()(check)
app.command()(new)


@app.command()
def demo() -> None:
    """Show the package at work, on a small model that is downloaded once (about 90 MB)."""
    with reported():
        from langchain_wrap.demo import run_demo

        run_demo()


def _write_text(llm: BaseLLM, prompt: str, call: dict[str, Any]) -> None:
    chunks = llm.stream(prompt, **call)
    last = "\n"
    try:
        with _spinner("loading the model and waiting for the first token"):
            chunk = next(chunks, None)
        while chunk is not None:
            sys.stdout.write(chunk)
            sys.stdout.flush()
            last = chunk or last
            chunk = next(chunks, None)
    finally:  # after Ctrl-C as well: the shell's prompt belongs on a line of its own
        if not last.endswith("\n"):
            print()


def _write_json(llm: BaseLLM, prompt: str, call: dict[str, Any]) -> None:
    with _spinner("waiting for the completion"):
        result = llm.generate([prompt], **call)
    generation, output = result.generations[0][0], result.llm_output or {}
    info = generation.generation_info or {}
    answer = {
        "text": generation.text,
        "finish_reason": info.get("finish_reason"),
        "usage": info.get("token_usage") or output.get("token_usage"),
        "model": info.get("model_name") or output.get("model_name") or llm.name or llm._llm_type,
    }
    print(json.dumps(answer, ensure_ascii=False))


async def _write_events(llm: BaseLLM, prompt: str, call: dict[str, Any], *, as_json: bool) -> None:
    async for event in llm.astream_events(prompt, version="v2", **call):
        if as_json:
            print(json.dumps(event, ensure_ascii=False, default=_plain), flush=True)
        else:
            print(f"{event['event']:<14} {describe_event(event)}", flush=True)


def _plain(value: Any) -> Any:
    """Return JSON values for an object inside an event."""
    dump: Callable[[], Any] | None = getattr(value, "model_dump", None)
    return dump() if dump is not None else str(value)


def _spinner(text: str) -> AbstractContextManager[object]:
    """Show on a terminal that something is going on: loading a model takes its time."""
    if not (sys.stderr.isatty() and sys.stdout.isatty()):
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status(text)
