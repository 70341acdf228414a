"""`wrap`: a custom LLM from a function or an object, without a class."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, overload

from langchain_core.language_models import llms
from langchain_core.runnables import Runnable
from pydantic import Field

from langchain_wrap.errors import did_you_mean
from langchain_wrap.llm import LLM
from langchain_wrap.pipeline.identity import describe
from langchain_wrap.pipeline.signature import Signature
from langchain_wrap.pipeline.stop import merge_stops

# The names under which an object's methods are looked for, by what they give. What a method of
# the first row is (function, coroutine, generator) decides which of the contract's it serves.
_TEXT = ("__call__", "_call", "_acall", "call", "acall", "generate", "agenerate", "complete",
         "acomplete", "predict", "apredict")  # fmt: skip
_STREAM = ("_stream", "_astream", "stream", "astream")
_BATCH = ("_batch", "_abatch", "batch", "abatch")
_TOKENIZE = ("_tokenize", "tokenize")

_NOTHING = object()
_CAN_WRAP = (
    "wrap() takes a function, coroutine function, generator function or async generator function "
    "whose first parameter is the prompt, a function from a list of prompts to a list of texts "
    "(with batch=True), or an object with such a method, under one of the names "
    f"{', '.join((*_TEXT, *_STREAM, *_BATCH))}"
)


class FunctionLLM(LLM):
    """A custom LLM made of functions; `wrap` makes it.

    Example:
        ```python
        from langchain_wrap import wrap

        llm = wrap(lambda prompt: prompt[::-1], name="reverse")
        llm.invoke("stressed")  # 'desserts'
        ```
    """

    target: Any = Field(repr=False)
    """What was given to `wrap`."""

    methods: dict[str, Callable[..., Any]] = Field(repr=False, exclude=True)
    """The functions, by the names of the contract's methods that they stand for."""

    @property
    def _llm_type(self) -> str:
        return "function"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        stop = {"stop": merge_stops(self.stop, None)} if self.stop else {}
        return {"model_name": self.name, "target": describe(self.target), **stop}

    @property
    def _implemented(self) -> frozenset[str]:
        return frozenset(self.methods) - {"_tokenize"}

    @classmethod
    def _implements_something(cls) -> bool:
        return True

    def _method(self, name: str) -> Callable[..., Any]:
        return self.methods[name]

    def _label(self, name: str) -> str:
        label = getattr(self.methods[name], "__name__", "<lambda>")
        return f"{self.name if label == '<lambda>' else label}()"

    @property
    def _has_tokenizer(self) -> bool:
        return "_tokenize" in self.methods

    def _tokenize(self, text: str) -> list[int]:
        tokenize = self.methods.get("_tokenize")
        return list(tokenize(text)) if tokenize is not None else super()._tokenize(text)

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        return {**state, "__dict__": _map_functions(state["__dict__"], _reference)}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__({**state, "__dict__": _map_functions(state["__dict__"], _resolve)})


@overload
def wrap(
    target: Any, /, *, name: str | None = None, batch: bool = False, stream: bool = False,
    **fields: Any,
) -> LLM: ...  # fmt: skip
@overload
def wrap(
    *, name: str | None = None, batch: bool = False, stream: bool = False, **fields: Any
) -> Callable[[Any], LLM]: ...
def wrap(
    target: Any = _NOTHING,
    /,
    *,
    name: str | None = None,
    batch: bool = False,
    stream: bool = False,
    **fields: Any,
) -> LLM | Callable[[Any], LLM]:
    """Make a custom LLM from a function or an object; also a decorator, `@wrap` or `@wrap(...)`.

    A function gets the prompt as its first argument and, where it names them, `stop` (list of
    strings or None), `cancel` (a `CancelToken`), `run_manager` and the parameters of the call.

    Args:
        target: A function, coroutine function, generator function or async generator function;
            or an object that can be called or has a method with a fitting name (`generate`,
            `stream`, `batch`, `tokenize`, ...).
        name: Name in traces and of the model; the function's own by default.
        batch: The function takes a list of prompts and returns a list of texts.
        stream: The function returns an iterator of pieces of text, without being a generator
            function itself.
        **fields: Fields of `LLM`: `concurrency`, `stop`, `timeout`, ...

    Returns:
        An `LLM`. An `LLM` of this package is returned as it is, or as a copy with `fields`.

    Raises:
        TypeError: The target cannot be wrapped; the message says what can.
        pydantic.ValidationError: A field has a wrong value.
    """
    known = [*LLM.model_fields, "name", "batch", "stream"]
    for option in fields:
        if option not in known:
            raise TypeError(f"wrap() has no option {option!r}.{did_you_mean(option, known)}")
    if target is _NOTHING:
        return lambda decorated: wrap(decorated, name=name, batch=batch, stream=stream, **fields)
    if isinstance(target, LLM):
        return _changed(target, {**fields, **({"name": name} if name else {})})
    if batch and stream:
        raise TypeError("wrap(): batch=True and stream=True exclude each other")
    methods = _methods(target, batch=batch, stream=stream)
    for function in methods.values():
        _check(function)
    name = name or getattr(_innermost(target), "__name__", type(target).__name__)
    return FunctionLLM(target=target, methods=methods, name=name, **fields)


def _changed(llm: LLM, fields: dict[str, Any]) -> LLM:
    if not fields:
        return llm
    copied = llm.model_copy()
    for name, value in fields.items():
        type(llm).__pydantic_validator__.validate_assignment(copied, name, value)
    return copied


def _methods(target: Any, *, batch: bool, stream: bool) -> dict[str, Callable[..., Any]]:
    """Return the functions of a target by the names of the contract's methods."""
    if isinstance(target, type):
        raise TypeError(
            f"wrap() was given the class {target.__qualname__}; give it an object: "
            f"wrap({target.__name__}(...)). {_CAN_WRAP}"
        )
    if isinstance(target, Runnable) and not isinstance(target, llms.BaseLLM):
        raise TypeError(
            f"{type(target).__name__} is a LangChain Runnable already and no LLM; use it as it "
            f"is. {_CAN_WRAP}"
        )
    if inspect.isroutine(_innermost(target)):
        return {_kind(target, batch=batch, stream=stream): target}
    found = dict(_object_methods(target, batch=batch, stream=stream))
    if not set(found) - {"_tokenize"}:
        shown = (
            repr(target) if isinstance(target, str | int | float | None) else type(target).__name__
        )
        raise TypeError(f"cannot wrap {shown}. {_CAN_WRAP}")
    return found


def _object_methods(
    target: Any, *, batch: bool, stream: bool
) -> Iterator[tuple[str, Callable[..., Any]]]:
    seen: set[str] = set()
    families = ((_TEXT, batch, stream), (_STREAM, False, True), (_BATCH, True, False))
    for names, as_batch, as_stream in families:
        for name in names:
            method = getattr(target, name, None)
            if not callable(method) or _is_inherited(target, name):
                continue
            kind = _kind(method, batch=as_batch, stream=as_stream)
            if kind not in seen:
                seen.add(kind)
                yield kind, method
    for name in _TOKENIZE:
        method = getattr(target, name, None)
        if callable(method) and "_tokenize" not in seen and not _is_inherited(target, name):
            seen.add("_tokenize")
            yield "_tokenize", method


def _is_inherited(target: Any, name: str) -> bool:
    """Whether a method of a langchain-core LLM is not the author's own."""
    if not isinstance(target, llms.BaseLLM):
        return False
    return not name.startswith("_") or getattr(type(target), name, None) is getattr(
        llms.LLM, name, None
    )


def _kind(function: Any, *, batch: bool, stream: bool) -> str:
    inner = _innermost(function)
    if not inspect.isroutine(inner):
        inner = type(inner).__call__
    if inspect.isasyncgenfunction(inner):
        kind = "_astream"
    elif inspect.isgeneratorfunction(inner):
        kind = "_stream"
    elif inspect.iscoroutinefunction(inner):
        return "_abatch" if batch else "_astream" if stream else "_acall"
    else:
        return "_batch" if batch else "_stream" if stream else "_call"
    if batch:
        raise TypeError(
            f"wrap(batch=True): {getattr(inner, '__qualname__', inner)} is a generator function; "
            "a batch function takes a list of prompts and returns a list of texts"
        )
    return kind


def _innermost(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _check(function: Callable[..., Any]) -> None:
    signature = Signature.of(function)
    if signature.required:
        name = getattr(_innermost(function), "__qualname__", repr(function))
        raise TypeError(
            f"{name} needs {', '.join(map(repr, signature.required))} besides the prompt, which "
            "a call may leave out; give it a default"
        )


class _Reference:
    """Stands for a function whose name leads to the LLM made of it, as after `@wrap`.

    pickle stores a function as its name, and refuses where the name leads elsewhere.
    """

    def __init__(self, module: str, qualname: str) -> None:
        self.module = module
        self.qualname = qualname

    def find(self) -> Any:
        found: Any = importlib.import_module(self.module)
        for part in self.qualname.split("."):
            found = getattr(found, part)
        return found


def _map_functions(state: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    methods = {name: change(function) for name, function in state["methods"].items()}
    return {**state, "target": change(state["target"]), "methods": methods}


def _reference(function: Any) -> Any:
    if not inspect.isfunction(function):
        return function
    reference = _Reference(function.__module__, function.__qualname__)
    try:
        found = reference.find()
    except (ImportError, AttributeError):
        return function
    return reference if isinstance(found, FunctionLLM) and found.target is function else function


def _resolve(stored: Any) -> Any:
    return stored.find().target if isinstance(stored, _Reference) else stored
