"""Structured output: schemas in, objects out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from operator import itemgetter
from typing import Any, cast

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_pydantic_v1_subclass
from pydantic import BaseModel, PydanticUserError, TypeAdapter

from langchain_wrap.chat.tool_schema import Hoist, check_schema, mismatch
from langchain_wrap.errors import did_you_mean

METHODS = ("json_schema", "function_calling", "json_mode")


def structured(
    model: BaseChatModel,
    schema: Any,
    *,
    method: str,
    include_raw: bool,
    strict: bool | None,
    **kwargs: Any,
) -> Runnable[Any, Any]:
    """Return a chat model that answers with objects; see `ChatModel.with_structured_output`."""
    if method not in METHODS:
        raise ValueError(
            f"method={method!r} is none of {', '.join(METHODS)}.{did_you_mean(method, METHODS)}"
        )
    wanted = schema_of(schema)
    tracing = {"kwargs": {"method": method}, "schema": _as_traced(schema, wanted)}
    asked: Runnable[Any, Any]
    if method == "function_calling":
        tool = {
            "name": wanted["title"],
            "description": wanted.get("description", ""),
            "parameters": {k: v for k, v in wanted.items() if k not in ("title", "description")},
        }
        asked = model.bind_tools(
            [tool],
            tool_choice=wanted["title"],
            ls_structured_output_format=tracing,
            parallel_tool_calls=False,
            **({} if strict is None else {"strict": strict}),
            **kwargs,
        )
    else:
        held_to = wanted if method == "json_schema" else {"type": "object"}
        asked = model.bind(json_schema=held_to, ls_structured_output_format=tracing, **kwargs)
    parser = ObjectParser(
        target=_target(schema, wanted),
        partly=isinstance(schema, dict) or _is_typed_dict(schema),
        called=method == "function_calling",
    )
    if not include_raw:
        return asked | parser
    parsed = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=asked) | parsed.with_fallbacks([failed], exception_key="parsing_error")


def schema_of(schema: Any) -> dict[str, Any]:
    """Return the JSON schema that a class, a schema or an OpenAI-style function stands for.

    It has a title, and its objects take no other keys than they name.

    Raises:
        TypeError: It is none of these.
        ValueError: It is no schema of an object, or cannot be used.
    """
    if isinstance(schema, dict):
        found = _of_dict(schema)
    elif isinstance(schema, type) and issubclass(schema, BaseModel):
        found = schema.model_json_schema()
    elif _is_old(schema):
        found = schema.schema()
    elif dataclasses.is_dataclass(schema):
        found = TypeAdapter(schema).json_schema()
    elif _is_typed_dict(schema):
        found = _of_typed_dict(schema)
    else:
        raise TypeError(
            "a schema is a pydantic, TypedDict or dataclass class, a JSON schema or an "
            f"OpenAI-style function, not {schema!r}"
        )
    title = str(found.get("title") or getattr(schema, "__name__", "") or "Answer")
    try:
        check_schema(found)
    except ValueError as error:
        raise ValueError(f"the schema {title!r} cannot be used: {error}") from None
    hoist = Hoist()
    closed = hoist.add("", found)
    if hoist.defs:
        closed["$defs"] = hoist.defs
    return {**closed, "title": title}


def _of_dict(schema: dict[str, Any]) -> dict[str, Any]:
    function = schema.get("function", schema)
    if isinstance(function, dict) and "parameters" in function and "name" in function:
        about = {"title": function["name"], "description": function.get("description")}
        return {**{k: v for k, v in about.items() if v}, **(function["parameters"] or {})}
    if "name" in schema and isinstance(schema.get("schema"), dict):  # OpenAI's response_format
        return {"title": schema["name"], **schema["schema"]}
    return schema


def _is_typed_dict(schema: Any) -> bool:
    """Whether it is a TypedDict; `typing` by itself does not know those of typing_extensions."""
    return (
        isinstance(schema, type)
        and issubclass(schema, dict)
        and hasattr(schema, "__required_keys__")
    )


def _of_typed_dict(schema: Any) -> dict[str, Any]:
    adapter = _adapter(schema)
    return convert_to_json_schema(schema) if adapter is None else adapter.json_schema()


def _adapter(schema: Any) -> TypeAdapter[Any] | None:
    """Return what validates objects of a class; None where pydantic reads it otherwise."""
    if _is_typed_dict(schema) and any("Annotated" in str(h) for h in _hints(schema)):
        return None  # LangChain's way of describing keys, with defaults and descriptions
    try:
        return TypeAdapter(schema)
    except PydanticUserError:  # a TypedDict of `typing`, below Python 3.12
        return None


def _hints(schema: Any) -> Iterable[object]:
    return cast("Iterable[object]", schema.__annotations__.values())


def _is_old(schema: Any) -> bool:
    """Whether it is a class of pydantic's first version."""
    return isinstance(schema, type) and is_pydantic_v1_subclass(schema)


def _as_traced(schema: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the schema as langchain-core's own models tell it to tracers."""
    try:
        return convert_to_json_schema(schema)
    except (TypeError, ValueError, KeyError, RecursionError):
        return wanted  # a kind of schema that only we take


def taken(parameters: dict[str, Any]) -> dict[str, Any] | None:
    """Take the schema for the answer's text out of a call's parameters.

    It is there as `json_schema`, or as OpenAI's `response_format`.

    Raises:
        ValueError: It cannot be used.
    """
    form = parameters.pop("response_format", None)
    schema = parameters.pop("json_schema", None)
    if schema is None and form is not None:
        if not isinstance(form, dict):
            schema = form
        elif form.get("type") == "json_object":
            return {"type": "object"}
        elif form.get("type") == "json_schema":
            schema = form.get("json_schema")
        elif form.get("type") != "text":
            schema = form
    if schema is None or schema == {"type": "object"}:
        return cast("dict[str, Any] | None", schema)
    return schema_of(schema)


def _target(schema: Any, wanted: dict[str, Any]) -> Callable[[Any], Any]:
    """Return what makes the object of a dict, or finds that it is none."""
    if isinstance(schema, dict):
        return partial(_fitting, _of_dict(schema))  # which may allow keys that it does not name
    if _is_old(schema):
        return cast("Callable[[Any], Any]", schema.parse_obj)
    adapter = _adapter(schema)
    return partial(_fitting, wanted) if adapter is None else adapter.validate_python


def _fitting(schema: dict[str, Any], value: Any) -> Any:
    problem = mismatch(schema, value)
    if problem is not None:
        raise ValueError(problem)
    return value


class ObjectParser(JsonOutputParser):
    """Reads the object out of an answer; of a stream, the object as far as it has come.

    Raises:
        OutputParserException: The answer is no such object; the message says so where it was cut
            off, or the model has refused.
    """

    target: Any = None
    """The function that makes the object of a dict."""

    partly: bool = False
    """Whether an object that is not whole yet goes out too, as dicts do."""

    called: bool = False
    """Whether the object is the arguments of a tool call."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return the object; None where there is none yet and more may come."""
        first = result[0]
        message = first.message if isinstance(first, ChatGeneration) else AIMessage(first.text)
        reason = message.response_metadata.get("finish_reason")
        partial = partial and reason is None
        if reason == "length":
            raise _unread(message, "it was cut off at the most tokens that an answer may have")
        value = self._called(message, partial) if self.called else self._written(result, partial)
        if value is None or (partial and self.partly):
            return value
        try:
            return self.target(value)
        except ValueError as error:  # which pydantic's errors are
            if partial:
                return None
            raise _unread(message, str(error)) from error

    def _written(self, result: list[Generation], partial: bool) -> Any:
        if partial and not result[0].text.strip():
            return None
        value = super().parse_result(result, partial=partial)
        if not partial and not isinstance(value, dict):
            raise _unread(AIMessage(result[0].text), "it is no JSON object")
        return value

    def _called(self, message: Any, partial: bool) -> Any:
        if message.tool_calls:
            return message.tool_calls[0]["args"]
        if partial:
            return None
        errors = [str(c.get("error") or c.get("args")) for c in message.invalid_tool_calls]
        raise _unread(message, "; ".join(errors) or "it calls no tool")


def _unread(message: Any, why: str) -> OutputParserException:
    text = str(message.text)
    return OutputParserException(f"the answer is not the object: {why}", llm_output=text)
