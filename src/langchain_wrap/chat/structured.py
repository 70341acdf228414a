"""Structured output: schemas in, objects out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import Any, cast

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableConfig, RunnableGenerator, RunnableMap
from langchain_core.runnables.utils import AddableDict
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.json import parse_json_markdown
from langchain_core.utils.pydantic import is_pydantic_v1_subclass
from pydantic import BaseModel, PydanticUserError, TypeAdapter

from langchain_wrap.chat.tool_schema import (
    Hoist,
    check_schema,
    is_typed_dict,
    mismatch,
    validated,
    with_nulls,
)
from langchain_wrap.chat.tools import Spec
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
            [Spec(tool, schema if _is_model(schema) else None)],
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
        partly=isinstance(schema, dict) or is_typed_dict(schema),
        called=method == "function_calling",
    )
    return RunnableMap(raw=asked) | _beside_raw(parser) if include_raw else asked | parser


def schema_of(schema: Any) -> dict[str, Any]:
    """Return the JSON schema that a class, a schema or an OpenAI-style function stands for.

    It has a title, and its objects take no other keys than they name.

    Raises:
        TypeError: It is none of these.
        ValueError: It is no schema of an object, or cannot be used.
    """
    if isinstance(schema, dict):
        found = _of_dict(schema)
    elif _is_model(schema):
        found = schema.model_json_schema()
    elif _is_old(schema):
        found = schema.schema()
    elif dataclasses.is_dataclass(schema):
        found = TypeAdapter(schema).json_schema()
    elif is_typed_dict(schema):
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


def _is_model(schema: Any) -> bool:
    return isinstance(schema, type) and issubclass(schema, BaseModel)


def _of_typed_dict(schema: Any) -> dict[str, Any]:
    adapter = _adapter(schema)
    if adapter is not None:
        return adapter.json_schema()
    try:
        found = convert_to_json_schema(schema)
    except TypeError as error:
        raise TypeError(
            f"the TypedDict {schema.__name__} cannot be read ({error}); with NotRequired or "
            "Required, take TypedDict from typing_extensions, and describe no key by Annotated"
        ) from error
    return with_nulls(found, schema)


def _adapter(schema: Any) -> TypeAdapter[Any] | None:
    """Return what validates objects of a class; None where pydantic reads it otherwise."""
    if is_typed_dict(schema) and any("Annotated" in str(h) for h in _hints(schema)):
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
    return partial(_fitting, wanted) if adapter is None else partial(validated, adapter)


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
        if message.response_metadata.get("finish_reason") == "length":
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
        text = result[0].text
        if partial:
            return super().parse_result(result, partial=True) if text.strip() else None
        try:
            value = parse_json_markdown(text, parser=_first_json)
        except ValueError as error:
            said = text if len(text) <= 200 else f"{text[:100]}…{text[-100:]}"
            why = f"it is no whole JSON object ({error}): {said!r}"
            raise _unread(AIMessage(text), why) from error
        if not isinstance(value, dict):
            raise _unread(AIMessage(text), "it is no JSON object")
        return value

    def _called(self, message: Any, partial: bool) -> Any:
        if message.tool_calls:
            return message.tool_calls[0]["args"]
        if partial:
            return None
        errors = [str(c.get("error") or c.get("args")) for c in message.invalid_tool_calls]
        raise _unread(message, "; ".join(errors) or "it calls no tool")

    # langchain-core parses what has come with each chunk, and nothing at the end: an answer that
    # never becomes an object would go by without a word.

    def _transform(self, input: Iterator[str | BaseMessage]) -> Iterator[Any]:
        growing = _Growing(self)
        for chunk in input:
            yield from growing.take(chunk)
        yield from growing.end()

    async def _atransform(self, input: AsyncIterator[str | BaseMessage]) -> AsyncIterator[Any]:
        growing = _Growing(self)
        async for chunk in input:
            for value in growing.take(chunk):
                yield value
        for value in growing.end():
            yield value


class _Growing:
    """The object of an answer that is still being given."""

    def __init__(self, parser: ObjectParser) -> None:
        self._parser = parser
        self._come: Any = None
        self._last: Any = None

    def take(self, chunk: str | BaseMessage) -> list[Any]:
        """Take more of the answer; return the object in a list, if there is more of it now."""
        self._come = chunk if self._come is None else self._come + chunk
        return self._news(partial=True)

    def end(self) -> list[Any]:
        """Return what `take` does, of the whole answer.

        Raises:
            OutputParserException: It is no such object.
        """
        return [] if self._come is None else self._news(partial=False)

    def _news(self, *, partial: bool) -> list[Any]:
        come = self._come
        one = Generation(text=come) if isinstance(come, str) else ChatGeneration(message=come)
        value = self._parser.parse_result([one], partial=partial)
        if value is None or value == self._last:
            return []
        self._last = value
        return [value]


def _beside_raw(parser: ObjectParser) -> Runnable[Any, Any]:
    """Return what lets `raw` pass as it comes, and adds what it is parsed to or why it is not."""

    def parsed(chunks: Iterator[Any], config: RunnableConfig) -> Iterator[Any]:
        come: Any = None
        for chunk in chunks:
            yield AddableDict(chunk)
            come = chunk["raw"] if come is None else come + chunk["raw"]
        try:
            value = parser.invoke(come, config)
        except Exception as error:
            yield AddableDict(parsed=None, parsing_error=error)
        else:
            yield AddableDict(parsed=value, parsing_error=None)

    async def aparsed(chunks: AsyncIterator[Any], config: RunnableConfig) -> AsyncIterator[Any]:
        come: Any = None
        async for chunk in chunks:
            yield AddableDict(chunk)
            come = chunk["raw"] if come is None else come + chunk["raw"]
        try:
            value = await parser.ainvoke(come, config)
        except Exception as error:
            yield AddableDict(parsed=None, parsing_error=error)
        else:
            yield AddableDict(parsed=value, parsing_error=None)

    # Their types do not say that they may take a config.
    return RunnableGenerator(cast("Any", parsed), cast("Any", aparsed))


def _first_json(text: str) -> Any:
    """Return the JSON value that a text begins with; models say something after it."""
    return json.JSONDecoder(strict=False).raw_decode(text.lstrip("` \n\r\t"))[0]


def _unread(message: Any, why: str) -> OutputParserException:
    text = str(message.text)
    return OutputParserException(f"the answer is not the object: {why}", llm_output=text)
