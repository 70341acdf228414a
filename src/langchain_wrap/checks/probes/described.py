"""Descriptions: what the author of a model has written about its fields."""

from __future__ import annotations

import ast
import contextlib
import gc
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator

from langchain_core.language_models.llms import BaseLLM

from langchain_wrap.checks.probes.fields import classes, declared


class NoSource(Exception):
    """The source of a class cannot be had, as in a notebook's or REPL's older versions."""


def docstrings(llm: BaseLLM) -> list[str]:
    """Return the docstrings of the classes that the author of a model has written."""
    found = [cls.__dict__.get("__doc__") for cls in classes(llm)]
    return [text for text in found if isinstance(text, str) and text.strip()]


def undescribed(llm: BaseLLM) -> list[str]:
    """Return the author's fields that are described nowhere.

    Raises:
        NoSource: There is a field that may be described in a source which cannot be had.
    """
    text = "\n".join(docstrings(llm))
    left = []
    for name, field in declared(llm).items():
        # `client: Any = Field(default=None, exclude=True)` is LangChain's way to say "internal".
        internal = field.init is False or (field.exclude and "Any" in str(field.annotation))
        names = [name, *(a for a in (field.alias, field.validation_alias) if isinstance(a, str))]
        named = any(re.search(rf"(?<!\w){re.escape(one)}(?!\w)", text) for one in names)
        if not (internal or field.description or named):
            left.append(name)
    if not left:
        return []
    noted: set[str] = set()
    missing = None
    for cls in classes(llm):
        try:
            noted |= _noted(cls)
        except NoSource as error:
            missing = error
    left = [name for name in left if name not in noted]
    if left and missing is not None:
        raise missing
    return left


def _noted(cls: type) -> set[str]:
    """Return the attributes of a class that have a docstring under them."""
    try:
        with _undisturbed():
            source = inspect.getsource(cls)
    except (OSError, TypeError, SystemError) as error:
        raise NoSource(f"the source of {cls.__qualname__} cannot be had") from error
    body = _body(source, cls.__name__)
    if body is None:
        raise NoSource(f"the source of {cls.__qualname__} cannot be read")
    return {
        one.target.id
        for one, after in itertools.pairwise(body)
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and _is_text(after)
    }


def _body(source: str, name: str) -> list[ast.stmt] | None:
    # A docstring at the left edge stands in the way of dedent, but not of an `if`.
    for text in (textwrap.dedent(source), f"if True:\n{source}"):
        try:
            with _undisturbed():
                tree = ast.parse(text)
        except (SyntaxError, SystemError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name == name:
                return node.body
    return None


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep garbage from being collected: code that runs in the middle of parsing breaks it.

    That is python/cpython#106905, and seen with clients whose finalizers complain.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and bool(node.value.value.strip())
    )
