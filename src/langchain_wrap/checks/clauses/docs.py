"""DOCS: documentation."""

from __future__ import annotations

import re

from langchain_wrap.checks.clause import Area, Skipped
from langchain_wrap.checks.probes.described import NoSource, docstrings, undescribed
from langchain_wrap.checks.probes.fields import declared, looks_like_key, words
from langchain_wrap.checks.subject import Subject
from langchain_wrap.contract import Contract
from langchain_wrap.wrapping import FunctionLLM

area = Area("DOCS", "Documentation")

_LINK = re.compile(r"https?://(?!localhost|127\.|0\.0\.0\.0|\[::1\]|(?:[\w.-]+\.)?example\.)\w")
_PLACES = frozenset({"url", "uri", "host", "endpoint"})


def _skip_wrapped(model: Subject) -> None:
    if type(model.llm) is FunctionLLM:
        raise Skipped("the model was made by wrap(): its author has written no class")


@area.clause(
    1,
    "The class has a docstring.",
    level="contract",
    why="`help()`, editors and the API reference say nothing of the model, or speak of LangChain's "
    "base class.",
    source="LangChain's checklist for custom LLMs, documentation; its example: «carefully document "
    "the model including the initialization parameters»",
    fix="Say in a docstring under `class …:` which model it is, what it needs, how to make one.",
)
def class_is_documented(model: Subject) -> None:
    _skip_wrapped(model)
    model.expect(
        docstrings(model.llm),
        f"{type(model.llm).__name__} has no docstring of its own",
        "assert (type(llm).__doc__ or '').strip(), 'the class has no docstring'",
    )


@area.clause(
    2,
    "Each field that can be given at init is described.",
    level="contract",
    why="Users do not learn what a parameter means, in which unit, and what its default does.",
    source="LangChain's checklist for custom LLMs: all init parameters have docstrings, since the "
    "API reference shows them",
    fix='Write a text under the field (`n: int = 5` and, in the next line, `"""…"""`), or '
    "`Field(description=…)`, or name the field in the class docstring.",
)
def fields_are_described(model: Subject) -> None:
    _skip_wrapped(model)
    if not declared(model.llm):
        raise Skipped("the class declares no fields")
    try:
        left = undescribed(model.llm)
    except NoSource as reason:
        raise Skipped(f"{reason}, and fields may be described in it") from None
    ours = isinstance(model.llm, Contract)
    model.expect(
        not left,
        f"{', '.join(left)} {'is' if len(left) == 1 else 'are'} described nowhere",
        "import ast",
        "import inspect",
        "import re",
        "import textwrap",
        "",
        f"from {'langchain_wrap' if ours else 'langchain_core.language_models.llms'} import LLM",
        "",
        "docs = []",
        "for cls in set(type(llm).__mro__) - set(LLM.__mro__):",
        r"    docs += re.findall(r'\w+', cls.__doc__ or '')",
        "    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body",
        "    for field, after in zip(body, body[1:]):",
        "        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):",
        "            docs.append(field.target.id)",
        f"for name in {left}:",
        "    described = type(llm).model_fields[name].description or name in docs",
        "    assert described, f'{name} is described nowhere'",
    )


@area.clause(
    3,
    "The class docstring links the API of the service behind the model.",
    level="contract",
    why="Users do not find which models, parameters and limits the service has.",
    source="LangChain's checklist for custom LLMs: the class docstring links the model's API, "
    "where it is driven by one",
    fix="Put the address of the API's documentation into the class docstring.",
)
def service_is_linked(model: Subject) -> None:
    _skip_wrapped(model)
    signs = [name for name in declared(model.llm) if _of_a_service(name)]
    if not signs:
        raise Skipped("the model has no field such as base_url or api_key: no service is known")
    model.expect(
        any(_LINK.search(text) for text in docstrings(model.llm)),
        f"the model talks to a service ({', '.join(signs)}), and no class docstring has a link",
        "assert '://' in (type(llm).__doc__ or ''), 'no link in the class docstring'",
    )


def _of_a_service(name: str) -> bool:
    parts = words(name)
    return bool(parts) and (
        parts[-1] in _PLACES or parts[-2:] == ["api", "base"] or looks_like_key(name)
    )
