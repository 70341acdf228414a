"""The parameters of a call: which there are, and how they come into a request's body."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from langchain_wrap.errors import did_you_mean
from langchain_wrap.models import template
from langchain_wrap.models.http_exchange import encoded


def same(names: str) -> dict[str, str]:
    """Return a template in which each parameter goes under its own name."""
    return {name: f"{{{name}}}" for name in names.split()}


def check(given: Iterable[str], declared: Collection[str], who: str = "HTTPEndpoint") -> None:
    """Check the names of parameters.

    Raises:
        TypeError: A parameter is not declared.
    """
    for name in given:
        if name not in declared:
            raise TypeError(
                f"{who} takes no parameter {name!r}: it is neither in the template of the body "
                f"nor in body_params.{did_you_mean(name, declared)} "
                f"It takes: {', '.join(sorted(declared)) or 'none'}"
            )


def body_of(
    form: Any, given: Mapping[str, Any], values: Mapping[str, Any], more: Iterable[str]
) -> bytes:
    """Return a request's body.

    Args:
        form: Its template.
        given: The parameters.
        values: What we ourselves put in; it counts before parameters.
        more: Names of parameters that are added as they are where the template has them not.
    """
    filled = template.fill(form, {**given, **values})
    in_template = template.names(form)
    added = {name: given[name] for name in more if name in given and name not in in_template}
    return encoded({**filled, **added} if added else filled)
