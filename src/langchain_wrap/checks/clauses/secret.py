"""SECRET: secrets."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models.llms import BaseLLM
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from langchain_wrap.checks.clause import Area, Skipped
from langchain_wrap.checks.probes import marked
from langchain_wrap.checks.probes.fields import keys, secret_of, shows, variant
from langchain_wrap.checks.probes.marked import KEY
from langchain_wrap.checks.probes.paths import PATHS, Expression, code
from langchain_wrap.checks.probes.spy import authored
from langchain_wrap.checks.probes.stand_in import answering, ask, reach, takes
from langchain_wrap.checks.subject import Subject

area = Area("SECRET", "Secrets")

_NO_FIELD = "the model has no field for a key"


@area.clause(
    1,
    "Fields for keys, passwords and tokens are `SecretStr`.",
    level="contract",
    why="`print(llm)`, logs and traces show the key, and it is copied from there.",
    source="LangChain's checklist for custom LLMs: keys that are given at init are `SecretStr`, so "
    "that printing the model does not show them; langchain_core.utils.secret_from_env",
    fix="Declare `api_key: SecretStr`, and send `self.api_key.get_secret_value()`.",
)
def fields_are_secret(model: Subject) -> None:
    found = keys(model.llm)
    if not found:
        raise Skipped(_NO_FIELD)
    plain = [name for name, field in found.items() if shows(field.annotation)]
    model.expect(
        not plain,
        f"{_several(plain, 'field')} {', '.join(plain)} can hold a key as plain text",
        f"for name in {plain}:",
        "    allowed = str(type(llm).model_fields[name].annotation)",
        "    assert 'str' not in allowed.replace('SecretStr', ''), (name, allowed)",
    )


@area.clause(
    2,
    "A key in a field is shown by no way of looking at the object.",
    level="contract",
    why="The key ends in notebooks, logs, bug reports and saved files.",
    source="LangChain's checklist for custom LLMs: printing the model never shows its key; "
    "langchain_core.load.dumps: «Secrets are not included.»",
    fix="Leave the key out of `_identifying_params`, `__repr__` and `__str__`, and never put what "
    "`get_secret_value()` gives into another field.",
)
def objects_hide_keys(model: Subject) -> None:
    llm, fields = _with_keys(model)
    found = marked.shown_by(llm)
    model.expect(
        not found,
        f"the key in {', '.join(fields)} is shown by {', '.join(found)}",
        *_looking(found, _keyed(fields)),
    )


@area.clause(
    3,
    "Callbacks and traces are not told a key in a field.",
    level="contract",
    why="The key goes to the monitoring service, and everybody who reads traces there has it.",
    source="LangChain's checklist for custom LLMs: keys are secret; BaseLLM hands `serialized` and "
    "`invocation_params` to callbacks",
    fix="Leave the key out of `_identifying_params`, and the request out of `generation_info` and "
    "`llm_output`.",
)
def callbacks_are_not_told_keys(model: Subject) -> str | None:
    llm, fields = _with_keys(model)
    failed = False
    for path in ("invoke", "stream") if model.streams else ("invoke",):
        runs = RunCollectorCallbackHandler()
        trace = model.call(path, llm=llm, config={"callbacks": [runs]})
        failed = failed or trace.error is not None
        found = marked.unique(marked.told(trace, runs, of=("start", "token", "end")))
        model.expect(
            not found,
            f"the key in {', '.join(fields)} is told to {'; '.join(found)} ({path})",
            *_listening(path, model.prompt, _keyed(fields)),
        )
        if not trace.of("start"):
            raise Skipped(f"{path} tells callbacks of no start")
    return "the service refused the marked key: only the start was seen" if failed else None


@area.clause(
    4,
    "Headers with a key are shown and told nowhere.",
    level="production",
    why="A token in `headers` or `model_kwargs` is as good as a key, and shows in logs and traces.",
    source="this project's: langchain-core shows and traces fields and identifying parameters as "
    "they are",
    fix="Derive from `langchain_wrap.LLM`, which masks headers and keys in dicts; or make it "
    "`Field(repr=False, exclude=True)` and leave it out of `_identifying_params`.",
)
def headers_are_hidden(model: Subject) -> None:
    fields = marked.headers(model.llm)
    if not fields:
        raise Skipped("the model has no field for headers")
    for name, value in fields.items():
        llm = variant(model, **{name: value})
        made = {key: one for key, one in value.items() if KEY in str(one)}
        lines = [f"llm = llm.model_copy(update={{{name!r}: {made}}})"]
        found = marked.shown_by(llm)
        model.expect(
            not found,
            f"a key in {name} is shown by {', '.join(found)}",
            *_looking(found, lines),
        )
        for path in PATHS:
            told = _told(model, llm, path)
            model.expect(
                not told,
                f"a key in {name} is told to {'; '.join(told)} ({path})",
                *_listening(path, model.prompt, lines),
            )


@area.clause(
    5,
    "Keys among the parameters of a call are told to no callback.",
    level="production",
    why="`invoke(prompt, api_key=…)` is how a server serves many customers; their keys end in its "
    "traces.",
    source="this project's: langchain-core puts all parameters of `stream` and `astream` into "
    "`invocation_params` as they are",
    fix="Derive from `langchain_wrap.LLM`, which masks them; with langchain-core's class, take "
    "keys as fields only.",
)
def parameters_are_hidden(model: Subject) -> str | None:
    named, any_ = takes(model.llm)
    given = {name: value for name, value in _PARAMETERS.items() if any_ or name in named}
    if not given:
        raise Skipped("calls of the model take no such parameter")
    llm = variant(model, cache=False)
    for path in PATHS:
        told = _told(model, llm, path, **given)
        model.expect(
            not told,
            f"a key in a parameter is told to {'; '.join(told)} ({path})",
            *_listening(path, model.prompt, [], **given),
        )
    return None


_PARAMETERS = {"api_key": KEY, "headers": {"Authorization": f"Bearer {KEY}"}}


@area.clause(
    6,
    "An error that quotes the key reaches callbacks and traces without it.",
    level="production",
    why="Services quote the key that they refuse, and the text of the error is traced.",
    source="this project's: langchain-core traces the text of an error as it is",
    fix="Derive from `langchain_wrap.LLM`, which masks the key in errors; or catch the client's "
    "error and raise your own with the key replaced.",
)
def errors_hide_keys(model: Subject) -> None:
    llm, fields = _with_keys(model)
    for path in PATHS:
        runs = RunCollectorCallbackHandler()
        error = RuntimeError(f"401: the key {KEY} is not known")
        with answering(model, llm, "", fail=lambda prompt, error=error: error):
            trace = reach(model, llm, path, config={"callbacks": [runs]})
        if not trace.of("error"):
            raise Skipped(f"an error in the author's method is not traced by {path}")
        found = marked.unique(marked.told(trace, runs, of=("error",)))
        model.expect(
            not found,
            f"an error that quotes the key in {', '.join(fields)} is told to {'; '.join(found)} "
            f"({path})",
            *_listening(path, model.prompt, [*_keyed(fields), *_refusing(llm)]),
        )


def _with_keys(model: Subject) -> tuple[BaseLLM, dict[str, Any]]:
    """Return a copy with the marked key in each secret field, and what was set.

    Raises:
        Skipped: There is no such field.
    """
    found = keys(model.llm)
    fields: dict[str, Any] = {
        n: marked.secret(f.annotation) for n, f in found.items() if secret_of(f.annotation)
    }
    if not fields:
        raise Skipped("no field is a SecretStr, as SECRET-01 reports" if found else _NO_FIELD)
    return variant(model, **fields), fields


def _keyed(fields: dict[str, Any]) -> list[str]:
    """Return the lines that put the marked key into fields."""
    made = ", ".join(
        f"{name!r}: {type(value).__name__}({value.get_secret_value()!r})"
        for name, value in fields.items()
    )
    kinds = ", ".join(sorted({type(value).__name__ for value in fields.values()}))
    return [f"from pydantic import {kinds}", "", f"llm = llm.model_copy(update={{{made}}})"]


def _looking(ways: list[str], made: list[str]) -> list[str]:
    """Return the lines that look at the model, after it has been made, in some ways."""
    used = [name for name in ("dumpd", "dumps") if any(name in way for way in ways)]
    return [
        *([f"from langchain_core.load import {', '.join(used)}"] if used else []),
        *made,
        *(f'assert "{KEY}" not in str({way}), "shown by {way}"' for way in ways),
    ]


def _listening(path: str, prompt: str, made: list[str], **kwargs: Any) -> list[str]:
    """Return the lines that call the model, after it has been made, and look at its callbacks."""
    config = Expression("{'callbacks': [Listener()]}")
    return [
        "from langchain_core.callbacks import BaseCallbackHandler",
        *(made[:1] if made and made[0].startswith("from") else []),
        "",
        "class Listener(BaseCallbackHandler):",
        "    told = []",
        "",
        "    def on_llm_start(self, *args, **kwargs):",
        "        self.told.append(repr((args, kwargs)))",
        "",
        "    on_llm_new_token = on_llm_end = on_llm_error = on_llm_start",
        "",
        *(made[1:] if made and made[0].startswith("from") else made),
        "try:",
        f"    {code(path, [prompt], config=config, **kwargs)}",
        "except Exception as error:",
        "    print(type(error))",
        f'assert "{KEY}" not in "".join(Listener.told), "callbacks are told the key"',
    ]


def _refusing(llm: BaseLLM) -> list[str]:
    """Return the lines that have the author's methods refuse the key, and quote it."""
    return [
        "",
        "def refuse(prompt, *args, **kwargs):",
        f'    raise RuntimeError("401: the key {KEY} is not known")',
        "",
        f"for name in {list(authored(llm))}:",
        "    llm.__dict__[name] = refuse",
        "",
    ]


def _told(model: Subject, llm: BaseLLM, path: str, **kwargs: Any) -> list[str]:
    """Return where callbacks are told the key, of a call that does not come to the model."""
    runs = RunCollectorCallbackHandler()
    with answering(model, llm, "an answer"):
        trace = ask(model, llm, path, config={"callbacks": [runs]}, **kwargs)
    return marked.unique(marked.told(trace, runs, of=("start", "token", "end")))


def _several(names: list[str], noun: str) -> str:
    return f"the {noun}" if len(names) == 1 else f"the {noun}s"
