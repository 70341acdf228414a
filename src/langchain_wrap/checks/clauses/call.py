"""CALL: what a call takes, gives and raises."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.outputs import LLMResult
from langchain_core.prompt_values import StringPromptValue

from langchain_wrap.checks.clause import Area, Failed, Skipped
from langchain_wrap.checks.probes.deadline import NoAnswer
from langchain_wrap.checks.probes.edges import EMPTY, LONG, NUL, SURROGATE, UNICODE, check_edge
from langchain_wrap.checks.probes.failing import check_reports, check_types
from langchain_wrap.checks.probes.given import check_given
from langchain_wrap.checks.probes.parameters import check_unknown
from langchain_wrap.checks.probes.paths import Expression, code, script
from langchain_wrap.checks.probes.remembered import check_remembered
from langchain_wrap.checks.subject import Subject, describe_error, first_then, shown

area = Area("CALL", "Calls")


@area.clause(
    1,
    "`invoke` returns a `str`.",
    level="contract",
    why="Output parsers and chains take the completion as text and fail far from the cause.",
    source="langchain_core LLM._call: «The model output as a string.»",
    fix="Return the text itself from `_call`; decode bytes, and take it out of response objects.",
)
def returns_text(model: Subject) -> None:
    trace = model.answered("invoke")
    model.expect(
        isinstance(trace.text, str),
        f"invoke returned {shown(trace.text)}, a {type(trace.text).__name__}",
        f"got = {code('invoke', [model.prompt])}",
        "assert isinstance(got, str), type(got)",
    )


@area.clause(
    2,
    "`ainvoke` returns what `invoke` returns.",
    level="contract",
    why="A program that moves from sync to async gets other answers.",
    source="langchain_core LLM._acall: «Async version of the _call method.»",
    fix="Let `_acall` and `_call` share what builds the request and reads the answer.",
)
def ainvoke_agrees(model: Subject) -> str | None:
    trace = model.answered("ainvoke")
    return _expect_answer(
        model, trace.text, lambda: model.call("ainvoke", again=True).text,
        "ainvoke", code("ainvoke", [model.prompt]),
    )  # fmt: skip


@area.clause(
    3,
    "`generate` and `agenerate` return what `invoke` returns: one list of generations per prompt.",
    level="contract",
    why="Chains, evaluators and caches that use `generate` get other answers, or lose some.",
    source="langchain_core BaseLLM.generate: «An LLMResult, which contains a list of candidate "
    "Generations for each input prompt»",
    fix="Write `_call` (or a `_generate` that appends `[Generation(text=...)]` for each prompt) "
    "and leave `generate` and `agenerate` to langchain-core.",
)
def generate_agrees(model: Subject) -> str | None:
    model.text()
    prompts = [model.prompt, *model.numbered(1)][: model.affordable(2, least=1, seconds=2)]
    note = None
    for name in ("generate", "agenerate"):
        call = f"llm.{name}({prompts!r})"
        call = f"asyncio.run({call})" if name == "agenerate" else call
        result = _generate(model, name, prompts, call)
        rows = result.generations
        model.expect(
            len(rows) == len(prompts) and all(rows),
            f"{name} of {len(prompts)} prompts gave {[len(row) for row in rows]} generations in "
            f"{len(rows)} lists; it must be a list with a generation for each prompt",
            f"got = {call}",
            f"assert len(got.generations) == {len(prompts)}, got.generations",
            "assert all(got.generations), got.generations",
        )
        note = _expect_answer(
            model, rows[0][0].text,
            partial(_again, model, name, prompts, call),
            name, f"{call}.generations[0][0].text", "invoke" if name == "generate" else "ainvoke",
        )  # fmt: skip
    return note


def _generate(model: Subject, name: str, prompts: list[str], call: str) -> LLMResult:
    model.calls += len(prompts)
    try:
        if name == "generate":
            return model.run(lambda: model.llm.generate(list(prompts)))
        return model.run_async(lambda: model.llm.agenerate(list(prompts)))
    except NoAnswer as late:
        raise Failed(f"{name}: {late}", script(f"{call}  # never ends")) from None
    except Exception as error:
        raise Failed(f"{name} raised {describe_error(error)}", script(call)) from error


def _again(model: Subject, name: str, prompts: list[str], call: str) -> str:
    return _generate(model, name, prompts, call).generations[0][0].text


def _text_of(model: Subject, path: str, value: Any) -> Any:
    return model.call(path, value, again=True).text


def _expect_answer(
    model: Subject,
    got: object,
    again: Callable[[], object],
    what: str,
    expression: str,
    reference: str = "invoke",
) -> str | None:
    """Expect of another way to call what the path `reference` answers to the same prompt."""
    model.expect(
        isinstance(got, str),
        f"{what} gave {shown(got)}, a {type(got).__name__}",
        f"got = {expression}",
        "assert isinstance(got, str), type(got)",
    )
    if not model.deterministic:
        return "the model's answers vary: only the type was compared"
    model.expect_same(
        first_then(model.answered(reference).text, lambda: model.call(reference, again=True).text),
        first_then(got, again),
        f"{what} and {reference} differ",
        f"got = {expression}",
        f"want = {code(reference, [model.prompt])}",
        "assert got == want, (got, want)",
    )
    return None


_VALUE = "langchain_core.prompt_values.StringPromptValue"


@area.clause(
    4,
    "A `PromptValue` gives what its text gives.",
    level="contract",
    why="`prompt | llm` hands over a PromptValue, so the model cannot be used in a chain.",
    source="langchain_core LanguageModelInput: «PromptValue | str | "
    "Sequence[MessageLikeRepresentation]»",
    fix="Leave `invoke`, `stream` and the like to langchain-core, which convert their input; in "
    "one of your own, use `self._convert_input(input).to_string()`.",
)
def takes_prompt_values(model: Subject) -> str | None:
    model.text()
    note = None
    for path in ("invoke", "astream")[: model.affordable(2, least=1, seconds=2)]:
        value = StringPromptValue(text=model.prompt)
        made = Expression(f"{_VALUE}(text={model.prompt!r})")
        trace = model.call(path, value, again=True)
        if trace.error is not None:
            what = f"{path} of a StringPromptValue"
            _refused(model, path, value, what, f"got = {code(path, [made])}")
            continue
        note = _expect_answer(
            model, trace.text, partial(_text_of, model, path, value),
            f"{path} of a StringPromptValue", code(path, [made]), path,
        )  # fmt: skip
    return note


@area.clause(
    5,
    "Messages are accepted and give a `str`.",
    level="contract",
    why="`ChatPromptTemplate | llm`, and programs that change between models, raise an error.",
    source="langchain_core LanguageModelInput: «PromptValue | str | "
    "Sequence[MessageLikeRepresentation]»",
    fix="Leave `invoke`, `stream` and the like to langchain-core, which convert their input; in "
    "one of your own, use `self._convert_input(input).to_string()`.",
)
def takes_messages(model: Subject) -> None:
    model.text()
    messages = [SystemMessage("Be brief."), HumanMessage(model.prompt)]
    made = Expression(f"[SystemMessage('Be brief.'), HumanMessage({model.prompt!r})]")
    for path in ("invoke", "stream")[: model.affordable(2, least=1, seconds=2)]:
        trace = model.call(path, messages, again=True)
        lines = (
            "from langchain_core.messages import HumanMessage, SystemMessage\n",
            f"got = {code(path, [made])}",
            "assert isinstance(got, str), type(got)",
        )
        what = f"{path} of a list of messages"
        if trace.error is not None:
            _refused(model, path, messages, what, *lines)
            continue
        model.expect(
            isinstance(trace.text, str),
            f"{what} gave {shown(trace.text)}, a {type(trace.text).__name__}",
            *lines,
        )


def _refused(model: Subject, path: str, value: Any, what: str, *lines: str) -> None:
    """Fail the clause for an error that comes again, unless the path does not work at all."""
    error = model.call(path, value, again=True).error
    if error is not None and model.call(path).error is None:
        model.expect(False, f"{what} raised {describe_error(error)}", *lines)


@area.clause(
    6,
    "An empty prompt gives text, or an error that says what is wrong.",
    level="contract",
    why="An empty field in somebody's data stops a whole job with an error nobody understands.",
    source="langchain_core BaseLLM.invoke takes any str; LLM._call gives a str.",
    fix="Return \"\" for it, or raise `ValueError('the prompt is empty')`.",
)
def takes_an_empty_prompt(model: Subject) -> str | None:
    return check_edge(model, EMPTY)


@area.clause(
    7,
    "A very long prompt gives text, or an error that says what is wrong.",
    level="contract",
    why="Retrieved documents make prompts long; without a clear error nobody knows to cut them.",
    source="langchain_core.exceptions.ContextOverflowError: «input exceeds the model's context "
    "limit»",
    fix="Compare the length of the prompt with the context, and raise "
    "`langchain_core.exceptions.ContextOverflowError` with both numbers.",
)
def takes_a_long_prompt(model: Subject) -> str | None:
    return check_edge(model, LONG)


@area.clause(
    8,
    "Combining marks and emoji are ordinary text.",
    level="contract",
    why="Names, languages and emoji of ordinary users raise errors or come back broken.",
    source="langchain_core BaseLLM.invoke takes any str, and LLM._call gives one.",
    fix="Encode and decode as UTF-8, whole texts rather than pieces of bytes, and do not count on "
    "ASCII.",
)
def takes_unicode(model: Subject) -> None:
    check_edge(model, UNICODE, may_refuse=False)


@area.clause(
    9,
    "NUL characters and lone surrogates give text, or an error that says what is wrong.",
    level="contract",
    why="Text from files and web pages holds them; an error without a text cannot be understood.",
    source="langchain_core BaseLLM.invoke takes any str.",
    fix="Let the error of `prompt.encode()` out, raise a `ValueError`, or replace the characters.",
)
def takes_odd_characters(model: Subject) -> str | None:
    edges = (SURROGATE,) if model.slow else (NUL, SURROGATE)
    notes = [check_edge(model, edge) for edge in edges]
    return "; ".join(note for note in notes if note) or None


@area.clause(
    10,
    "An error of the model keeps its type on all six paths.",
    level="contract",
    why="`with_retry`, `with_fallbacks` and callers choose by type; an error that is swallowed "
    "turns into an answer.",
    source="langchain_core Runnable.with_retry: «retry_if_exception_type»",
    fix="Let errors out of the methods as they are; where you translate them, do so in one "
    "function that the sync and the async methods share.",
)
def errors_keep_their_type(model: Subject) -> None:
    check_types(model)


@area.clause(
    11,
    "An error reaches `on_llm_error` exactly once, on the run that started, and no `on_llm_end`.",
    level="contract",
    why="Traces and dashboards count an error twice or not at all, or show a failed run as done.",
    source="langchain_core BaseCallbackHandler.on_llm_error: «Run when LLM errors.»; "
    "BaseLLM.generate calls it itself",
    fix="Raise the error, and leave `on_llm_error` and `on_llm_end` to langchain-core.",
)
def errors_are_reported_once(model: Subject) -> None:
    check_reports(model)


@area.clause(
    12,
    "An unknown call parameter is accepted or refused by name, alike on all six paths.",
    level="contract",
    why="A misspelled parameter is noticed on one path and lost on another, and an error that "
    "does not name it is searched for long.",
    source="langchain_core LLM._call: «**kwargs: Arbitrary additional keyword arguments. These "
    "are usually passed to the model provider API call.»",
    fix="Take `**kwargs` in each method, or in none; where you check them, name the one in the "
    "error.",
)
def unknown_parameters(model: Subject) -> str:
    return check_unknown(model)


@area.clause(
    13,
    "What a call is given acts for that call only.",
    level="contract",
    why="One user's stop or temperature changes the answers of all others.",
    source="langchain_core Runnable.bind: arguments are bound to a call and not to the model",
    fix="Never assign call parameters to `self`; merge them into a new dict: "
    "`{**self._default_params, **kwargs}`.",
)
def parameters_are_not_remembered(model: Subject) -> str | None:
    return check_remembered(model)


@area.clause(
    14,
    "Nothing that the caller passes is changed.",
    level="contract",
    why="The caller's next call, of this or another model, gets a list or dict that has grown.",
    source="langchain_core Runnable.invoke; BaseLLM itself copies the config before it changes it",
    fix="Copy before you change: `stop = [*(stop or ()), *self.stop]`, `kwargs = {**kwargs, ...}`.",
)
def nothing_given_is_changed(model: Subject) -> str | None:
    return check_given(model)


_ECHOES = 3


@area.clause(
    15,
    "The completion does not begin with the prompt.",
    level="contract",
    why="Parsers read the instructions as the answer, and users see their own question again.",
    source="langchain_core LLM._call: «SHOULD NOT include the prompt.»",
    fix="Cut the prompt off, or have the engine leave it out (`return_full_text=False`, "
    "`echo=False`, `skip_prompt=True`).",
)
def does_not_repeat_the_prompt(model: Subject) -> None:
    model.text()
    echoed: dict[str, str] = {}
    for prompt in model.prompts:
        trace = model.call("invoke", prompt)
        text = trace.text
        if trace.error is not None or not isinstance(text, str) or text.strip() in prompt:
            continue  # nothing, the prompt itself or a part of it may be a right answer
        if not text.startswith(prompt):
            return
        echoed[prompt] = text
        if len(echoed) == _ECHOES:
            break
    else:
        raise Skipped("the answers are the prompts themselves or parts of them")
    model.expect(
        False,
        f"each of {_ECHOES} answers begins with its prompt, such as "
        f"{shown(echoed[prompt])} to {shown(prompt)}",
        f"prompts = {list(echoed)!r}",
        "echoed = [p for p in prompts if llm.invoke(p).startswith(p)]",
        "assert echoed != prompts, echoed",
    )
