"""The sandbox: Jinja as chat templates know it from Hugging Face's transformers.

A template comes with a model file, so it is somebody else's program. It sees copies made of plain
JSON types, and what it may do with them is bounded: in Jinja's sandbox, with a limit on how much
it writes and how far it counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

_FILE = "<template>"
_MOST_STEPS = 1_000_000
"""How far all ranges of one rendering count together."""
_MOST_BITS = 4096
"""The largest number that a power may give."""
_SPARE = 1_000_000
_GROWTH = 32
"""A prompt has at most `_SPARE` characters more than this multiple of what went into it."""


class TemplateStopped(ValueError):
    """A template did what no template needs: it will not do better with other messages."""


class _Refusal(TemplateError):
    """What a template says with `raise_exception`."""


class _Runaway(Exception):
    """A template writes or counts without end."""


class Compiled:
    """A template, ready to render."""

    def __init__(self, template: Template, variables: frozenset[str], size: int) -> None:
        self._template = template
        self.variables = variables
        """The names of the variables that it asks for."""
        self._size = size

    def render(self, variables: Mapping[str, Any]) -> str:
        """Return the text that the template makes of variables.

        Raises:
            ValueError: The template refuses them or fails, with its words or the line.
            TemplateStopped: The template tries to leave the sandbox, or runs away.
        """
        try:
            return self._render(variables)
        except _Refusal as error:
            raise ValueError(
                f"the chat template refuses these messages: {error}. Change the messages as it "
                "says, or use another template"
            ) from error
        except SecurityError as error:
            raise TemplateStopped(
                f"the chat template tries to leave its sandbox and was stopped: {error}. Do not "
                "trust what it came with; use another template"
            ) from error
        except (_Runaway, MemoryError, RecursionError, OverflowError) as error:
            raise TemplateStopped(
                f"the chat template does not come to an end and was stopped{_line(error)}: "
                f"{str(error) or type(error).__name__}. Use another template"
            ) from error
        except Exception as error:
            raise ValueError(
                f"the chat template fails{_line(error)}: {type(error).__name__}: {error}. It may "
                "not be made for messages like these; use another template"
            ) from error

    def _render(self, variables: Mapping[str, Any]) -> str:
        copies, given = plain(variables)
        most = _SPARE + _GROWTH * (given + self._size)
        pieces: list[str] = []
        for piece in self._template.generate({"range": _counted_range(), **copies}):
            most -= len(piece)
            if most < 0:
                raise _Runaway(f"it writes far more than the {given} characters that it was given")
            pieces.append(piece)
        return "".join(pieces)


@lru_cache(maxsize=64)
def compiled(source: str) -> Compiled:
    """Return a template's text compiled; the same text is compiled once.

    Raises:
        ValueError: It is no Jinja, with line and reason.
    """
    environment = _environment()
    try:
        variables = meta.find_undeclared_variables(environment.parse(source))
        return Compiled(environment.from_string(source), frozenset(variables), len(source))
    except TemplateSyntaxError as error:
        raise ValueError(
            f"the chat template is not valid Jinja, line {error.lineno}: {error.message}"
        ) from error
    except (SyntaxError, RecursionError, OverflowError) as error:
        raise ValueError(f"the chat template cannot be compiled: {error}") from error


def plain(value: Any) -> tuple[Any, int]:
    """Return a copy made of JSON types only, and how many characters of text it holds.

    Anything else, whose methods the sandbox could not judge, becomes its text.
    """
    if isinstance(value, Mapping):
        copy, size = {}, 0
        for key, item in value.items():
            (name, first), (copied, second) = plain(key), plain(item)
            copy[name] = copied
            size += first + second
        return copy, size
    if isinstance(value, list | tuple):
        pairs = [plain(item) for item in value]
        return [item for item, _ in pairs], sum(size for _, size in pairs)
    if value is None or type(value) in (bool, int, float):
        return value, 8
    if isinstance(value, int | float) and not isinstance(value, str):  # enums and the like
        return (int.__int__(value) if isinstance(value, int) else float.__float__(value)), 8
    text = str.__str__(value) if isinstance(value, str) else str(value)
    return text, len(text)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, which also bounds what `*` and `**` make."""

    intercepted_binops = frozenset(["*", "**"])

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            numbers = isinstance(left, int) and isinstance(right, int)
            if numbers and left.bit_length() * max(right, 0) > _MOST_BITS:
                raise _Runaway("it computes a number of thousands of digits")
        elif _repeated(left, right) > _MOST_STEPS:
            raise _Runaway("it repeats a text or list millions of times")
        return super().call_binop(context, operator, left, right)


class _Generation(Extension):
    """`{% generation %}`: marks what the model wrote, for training; here it is just its text."""

    tags = {"generation"}  # noqa: RUF012 - as the base class declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Namespace(Namespace):
    """Jinja's namespace, for plain names only: others have a meaning to Python."""

    def __init__(*args: Any, **values: Any) -> None:  # no `self`: it may be one of the values
        self, *rest = args
        pairs = dict(*rest, **values)
        for name in pairs:
            _check_name(name)
        Namespace.__init__(self, pairs)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


class _Dict:
    """`dict(...)` without the methods of the type, which could change what is not theirs."""

    def __call__(self, *args: Any, **values: Any) -> dict[Any, Any]:
        return dict(*args, **values)

    def fromkeys(self, keys: Any, value: Any = None) -> dict[Any, Any]:
        return dict.fromkeys(keys, value)


@lru_cache(maxsize=1)
def _environment() -> _Environment:
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals.update(
        raise_exception=_raise_exception,
        strftime_now=_strftime_now,
        dict=_Dict(),
        namespace=_Namespace,
    )
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    """Return JSON as Python writes it: Jinja's own filter escapes for HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=tuple(separators) if separators else None,
        sort_keys=sort_keys,
    )


def _raise_exception(message: Any) -> None:
    raise _Refusal(str(message))


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _repeated(left: Any, right: Any) -> int:
    """Return how long a sequence becomes by `*`; 0 for numbers."""
    for sequence, count in ((left, right), (right, left)):
        if isinstance(sequence, str | list | tuple) and isinstance(count, int):
            return len(sequence) * count
    return 0


def _counted_range() -> Callable[..., range]:
    left = _MOST_STEPS

    def counted(*bounds: int) -> range:
        nonlocal left
        steps = range(*bounds)
        left -= len(steps)
        if left < 0:
            raise _Runaway(f"its ranges have more than {_MOST_STEPS} steps")
        return steps

    return counted


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"it sets {name!r} on a namespace")


def _line(error: BaseException) -> str:
    """Return where in the template an error came up, as part of a sentence."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _FILE:
            line = trace.tb_lineno
        trace = trace.tb_next
    return "" if line is None else f" at line {line}"
