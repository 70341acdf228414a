"""CHAT-SECRET: secrets."""

from __future__ import annotations

from typing import Any

from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from langchain_wrap.chat.adapter import LLMChat
from langchain_wrap.checks.chat.paths import raw
from langchain_wrap.checks.chat.seam import Seam, standing
from langchain_wrap.checks.chat.snippets import LISTENER, LISTENING
from langchain_wrap.checks.chat.subject import ChatSubject
from langchain_wrap.checks.clause import Area, Skipped
from langchain_wrap.checks.clauses.chat.identity import key_of
from langchain_wrap.checks.clauses.secret import _looking
from langchain_wrap.checks.probes import marked
from langchain_wrap.checks.probes.fields import keys, secret_of, shows
from langchain_wrap.checks.probes.marked import KEY
from langchain_wrap.checks.probes.paths import Expression

area = Area("CHAT-SECRET", "Secrets")

_NO_FIELD = "the model has no field for a key"


def _holder(model: ChatSubject) -> Any:
    """Return what has the author's fields: the model, or the LLM that it was made of."""
    return model.llm.llm if isinstance(model.llm, LLMChat) else model.llm


@area.clause(
    1,
    "Fields for keys, passwords and tokens are `SecretStr`.",
    level="contract",
    why="`print(model)`, logs and traces show the key, and it is copied from there.",
    source="LangChain's checklist for integrations: keys that are given at init are `SecretStr`; "
    "langchain_core.utils.secret_from_env",
    fix="Declare `api_key: SecretStr`, and send `self.api_key.get_secret_value()`.",
)
def fields_are_secret(model: ChatSubject) -> None:
    found = keys(_holder(model))
    if not found:
        raise Skipped(_NO_FIELD)
    plain = [name for name, field in found.items() if shows(field.annotation)]
    model.expect(
        not plain,
        f"{', '.join(plain)} can hold a key as plain text",
        f"for name in {plain}:",
        "    allowed = str(type(getattr(llm, 'llm', llm)).model_fields[name].annotation)",
        "    assert 'str' not in allowed.replace('SecretStr', ''), (name, allowed)",
    )


@area.clause(
    2,
    "A key in a field is shown by no way of looking at the object.",
    level="contract",
    why="The key ends in notebooks, logs, bug reports and saved files.",
    source="LangChain's checklist for integrations; langchain_core.load.dumps: «Secrets are not "
    "included.»",
    fix="Leave the key out of `_identifying_params`, `__repr__` and `__str__`, and never put what "
    "`get_secret_value()` gives into another field.",
)
def objects_hide_keys(model: ChatSubject) -> None:
    llm, fields, lines = _with_keys(model)
    found = marked.shown_by(llm)
    model.expect(
        not found,
        f"the key in {', '.join(fields)} is shown by {', '.join(found)}",
        *_looking(found, lines),
    )


@area.clause(
    3,
    "Callbacks, traces and the key of the cache hold no key of a field.",
    level="contract",
    why="The key goes to the monitoring service, or into the cache's database.",
    source="BaseChatModel hands `serialized` and `invocation_params` to callbacks, and makes the "
    "key of the cache of them",
    fix="Leave the key out of `_identifying_params`, and the request out of `generation_info` and "
    "`response_metadata`.",
)
def not_told(model: ChatSubject) -> None:
    llm, fields, lines = _with_keys(model)
    for path in ("invoke", "stream") if model.streams else ("invoke",):
        runs = RunCollectorCallbackHandler()
        trace = model.call(path, llm=llm, config={"callbacks": [runs]})
        found = marked.unique(marked.told(trace, runs, of=("start", "token", "end")))
        model.expect(
            not found,
            f"the key in {', '.join(fields)} is told to {'; '.join(found)} ({path})",
            *_listening(lines, path, model.prompt),
        )
    try:
        key = key_of(model, llm)
    except Skipped:
        return
    model.expect(
        KEY not in "".join(key),
        f"the key in {', '.join(fields)} is part of the key of the cache",
        *lines,
        f"assert {KEY!r} not in llm._get_llm_string(), 'in the key of the cache'",
    )


@area.clause(
    4,
    "An error that quotes the key reaches callbacks, traces and the caller without it.",
    level="production",
    why="Services quote the key that they refuse, and the text of the error is logged and traced.",
    source="this project's: langchain-core traces the text of an error as it is",
    fix="Derive from `langchain_wrap.ChatModel`, which masks the key in errors; or catch the "
    "client's error and raise your own with the key replaced.",
)
def errors_hide_keys(model: ChatSubject) -> None:
    keyed, fields, lines = _with_keys(model)

    def refuse(text: str) -> None:
        raise RuntimeError(f"401: the key {KEY} is not known")

    for path in ("invoke", "ainvoke", "stream", "astream"):
        runs = RunCollectorCallbackHandler()
        with standing(keyed, seam := Seam(before=refuse)) as llm:
            trace = model.called(
                llm, path, [model.prompt], seconds=model.timeout, config={"callbacks": [runs]}
            )
        if not seam.visits or not trace.of("error"):
            raise Skipped(f"an error in the author's method is not traced by {path}")
        found = marked.unique(marked.told(trace, runs, of=("error",)))
        if KEY in repr(trace.error):
            found.append("the caller")
        model.expect(
            not found,
            f"an error that quotes the key in {', '.join(fields)} is told to {'; '.join(found)} "
            f"({path})",
            "from langchain_wrap.checks.chat.seam import Seam, standing",
            *lines,
            LISTENER,
            "def refuse(text):",
            f"    raise RuntimeError('401: the key {KEY} is not known')",
            "",
            "said = ''",
            "with standing(llm, Seam(before=refuse)) as llm:",
            "    try:",
            f"        {raw(path, [model.prompt], config=Expression(LISTENING))}",
            "    except Exception as error:",
            "        said = repr(error)",
            f"assert {KEY!r} not in said + repr(listener.seen), said",
        )


@area.clause(
    5,
    "Keys among the parameters of a call are told to no callback.",
    level="production",
    why="`invoke(messages, api_key=…)` is how a server serves many customers; their keys end in "
    "its traces.",
    source="this project's: langchain-core puts all parameters of a call into `invocation_params` "
    "as they are",
    fix="Derive from `langchain_wrap.ChatModel`, which masks them; with langchain-core's class, "
    "take keys as fields only.",
)
def parameters_are_hidden(model: ChatSubject) -> None:
    looked = False
    for path in ("invoke", "ainvoke", "stream", "astream"):
        runs = RunCollectorCallbackHandler()

        def stop(text: str) -> None:
            raise RuntimeError("enough")

        with standing(model.llm, Seam(before=stop)) as llm:
            trace = model.called(
                llm, path, [model.prompt], seconds=model.timeout, config={"callbacks": [runs]},
                api_key=KEY,
            )  # fmt: skip
        looked = looked or bool(trace.of("start"))
        found = marked.unique(marked.told(trace, runs, of=("start", "token", "end")))
        model.expect(
            not found,
            f"a key in a parameter is told to {'; '.join(found)} ({path})",
            *_listening([], path, model.prompt, api_key=KEY),
        )
    if not looked:
        raise Skipped("calls with such a parameter are refused")


def _with_keys(model: ChatSubject) -> tuple[Any, dict[str, Any], list[str]]:
    """Return a copy with the marked key in each secret field, what was set, and how as Python.

    Raises:
        Skipped: There is no such field.
    """
    holder = _holder(model)
    found = keys(holder)
    fields: dict[str, Any] = {
        n: marked.secret(f.annotation) for n, f in found.items() if secret_of(f.annotation)
    }
    if not fields:
        raise Skipped("no field is a SecretStr, as CHAT-SECRET-01 reports" if found else _NO_FIELD)
    made = ", ".join(
        f"{name!r}: {type(value).__name__}({value.get_secret_value()!r})"
        for name, value in fields.items()
    )
    kinds = ", ".join(sorted({type(value).__name__ for value in fields.values()}))
    copied = holder.model_copy(update=fields)
    copied.__dict__.pop("_serialized", None)
    lines = [f"from pydantic import {kinds}", ""]
    if holder is model.llm:
        return copied, fields, [*lines, f"llm = llm.model_copy(update={{{made}}})"]
    keyed = model.llm.model_copy(update={"llm": copied})
    keyed.__dict__.pop("_serialized", None)
    lines.append(f"inner = llm.llm.model_copy(update={{{made}}})")
    return keyed, fields, [*lines, "llm = llm.model_copy(update={'llm': inner})"]


_RUNS = "{'callbacks': [runs]}"


def _listening(made: list[str], path: str, prompt: str, **kwargs: Any) -> list[str]:
    return [
        *made,
        "from langchain_core.tracers.run_collector import RunCollectorCallbackHandler",
        "",
        "runs = RunCollectorCallbackHandler()",
        "try:",
        f"    {raw(path, [prompt], config=Expression(_RUNS), **kwargs)}",
        "except Exception as error:",
        "    print(type(error))",
        "told = repr([(r.inputs, r.outputs, r.extra, r.serialized) for r in runs.traced_runs])",
        f"assert {KEY!r} not in told, 'traces are told the key'",
    ]
