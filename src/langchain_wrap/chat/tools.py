"""Tools: what is offered to a model in one call."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from langchain_core.tools import BaseTool, Tool, create_schema_from_function
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, TypeAdapter, ValidationError

from langchain_wrap.chat.tool_schema import (
    Hoist,
    Schema,
    check_schema,
    follow,
    is_recursive,
    is_typed_dict,
    mismatch,
    validated,
    with_nulls,
)
from langchain_wrap.errors import did_you_mean

Choice = Literal["auto", "any", "none", "named"]

_WORDS: dict[object, Choice] = {
    None: "auto",
    "auto": "auto",
    "any": "any",
    "required": "any",
    True: "any",
    "none": "none",
    False: "none",
}

# What a tool's dict has that says how to call it; a provider's own tool has none of it.
_DESCRIBED = {"parameters", "input_schema", "toolSpec", "function", "properties"}


class Spec(dict[str, Any]):
    """A tool in OpenAI's form that knows the class of its arguments.

    To whoever has no use for that it is a dict, and what is made of it (a copy, a pickle) is one.
    """

    def __init__(self, spec: Mapping[str, Any], model: type[BaseModel] | None) -> None:
        super().__init__(spec)
        self.model = model

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


@dataclass(frozen=True, eq=False)
class Tools:
    """The tools of one call, in OpenAI's form, and which of them may or must be called."""

    specs: list[dict[str, Any]] = field(default_factory=list)
    """The tools as `{"type": "function", "function": {"name", "description", "parameters"}}`."""
    choice: Choice = "auto"
    """Whether a tool may be called, any must be, none may be, or the one `chosen` must be."""
    chosen: str | None = None
    """The name of the tool that must be called."""
    parallel: bool = True
    """Whether an answer may hold more than one call."""
    models: Mapping[str, type[BaseModel]] = field(default_factory=dict, repr=False)
    """The pydantic class of a tool's arguments, where there is one."""

    @classmethod
    def of(
        cls,
        tools: Sequence[Any] = (),
        tool_choice: Any = None,
        *,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
    ) -> Tools:
        """Take all that LangChain's `bind_tools` takes.

        Args:
            tools: Functions, pydantic classes, TypedDicts, JSON schemas, tools as OpenAI or
                Anthropic write them, LangChain's tools.
            tool_choice: `"auto"` or None, `"any"`, `"required"` or True, `"none"` or False, the
                name of a tool, or a choice as OpenAI or Anthropic write it.
            strict: Passed on as the tools' `strict`.
            parallel_tool_calls: False: one call only.

        Raises:
            TypeError: A tool or the choice is of no kind that is known.
            ValueError: A tool shadows another or has a schema that cannot be used, or the choice
                does not fit the tools.
        """
        specs: dict[str, dict[str, Any]] = {}
        models: dict[str, type[BaseModel]] = {}
        for number, tool in enumerate(tools, 1):
            spec, model = _spec(tool, number, strict)
            name = spec["function"]["name"]
            if name in specs:
                if _untitled(spec) == _untitled(specs[name]):
                    continue  # one tool, given twice: as a class and as its schema, say
                raise ValueError(
                    f"tool {number} shadows another: both are named {name!r}; rename one"
                )
            specs[name] = spec
            if model is not None:
                models[name] = model
        choice, chosen = _choice(tool_choice, list(specs))
        parallel = parallel_tool_calls is not False
        return cls(list(specs.values()), choice, chosen, parallel, models)

    @property
    def bound(self) -> list[Spec]:
        """The tools as `of` takes them again, losing nothing."""
        return [Spec(spec, self.models.get(spec["function"]["name"])) for spec in self.specs]

    @property
    def names(self) -> list[str]:
        """The names of all tools."""
        return [spec["function"]["name"] for spec in self.specs]

    @property
    def offered(self) -> bool:
        """Whether there is a tool that may be called."""
        return bool(self.specs) and self.choice != "none"

    @property
    def required(self) -> bool:
        """Whether a tool must be called."""
        return self.choice in ("any", "named")

    @property
    def allowed(self) -> list[dict[str, Any]]:
        """The tools that may be called under the choice."""
        if self.choice == "named":
            return [spec for spec in self.specs if spec["function"]["name"] == self.chosen]
        return self.specs if self.offered else []

    def schema_of(self, name: str) -> Schema:
        """Return the JSON schema of a tool's arguments, complete with its `$defs`.

        Raises:
            KeyError: There is no such tool.
        """
        for spec in self.specs:
            if spec["function"]["name"] == name:
                return cast("Schema", copy.deepcopy(spec["function"]["parameters"]))
        raise KeyError(name)

    def call_schema(self, name_key: str = "name", arguments_key: str = "arguments") -> Schema:
        """Return the JSON schema of one call of a tool that the choice allows.

        The name comes first: a model held to the schema chooses its tool before the arguments.
        """
        hoist = Hoist()
        calls = [
            {
                "type": "object",
                "properties": {
                    name_key: {"const": spec["function"]["name"]},
                    arguments_key: hoist.add(f"t{number}", spec["function"]["parameters"]),
                },
                "required": [name_key, arguments_key],
                "additionalProperties": False,
            }
            for number, spec in enumerate(self.allowed)
        ]
        return {"anyOf": calls, "$defs": hoist.defs} if hoist.defs else {"anyOf": calls}

    def check_call(self, name: str, args: dict[str, Any]) -> str | None:
        """Return what is wrong with a call, in words for the model to mend it, or None."""
        allowed = [spec["function"]["name"] for spec in self.allowed]
        if name not in allowed:
            if name in self.names:
                return f"the tool {name!r} may not be called now; call {_listed(allowed)}"
            return (
                f"there is no tool {name!r}.{did_you_mean(name, allowed)} Call {_listed(allowed)}"
            )
        model = self.models.get(name)
        if model is None:
            problem = mismatch(self.schema_of(name), args)
            return problem and f"the arguments of {name!r} do not fit: {problem}"
        try:
            validated(TypeAdapter(model), args)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            problem = "; ".join(
                ": ".join(filter(None, (".".join(map(str, each["loc"])), each["msg"])))
                for each in found
            )
            return f"the arguments of {name!r} do not fit: {problem}"
        return None


def _spec(
    tool: Any, number: int, strict: bool | None
) -> tuple[dict[str, Any], type[BaseModel] | None]:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind not in (None, "function", "object") and not tool.keys() & _DESCRIBED:
        raise ValueError(
            f"tool {number} is {kind!r}, a tool that its provider runs itself; a model here calls "
            "functions"
        )
    try:
        spec = copy.deepcopy(convert_to_openai_tool(tool))
    except RecursionError:
        raise ValueError(
            f"tool {number} ({_named(tool)}) has a recursive schema that cannot be converted; "
            "give it as a pydantic class or as a JSON schema with $ref"
        ) from None
    except Exception as error:
        said = " ".join(str(error).split())
        raise TypeError(f"tool {number} ({_named(tool)}) cannot be used as one: {said}") from error
    function = spec.get("function")
    if not isinstance(function, dict):
        raise ValueError(f"tool {number} is {spec.get('type')!r}; a model here calls functions")
    name = function.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"tool {number} has no name, but {name!r}")
    own = _own_schema(tool)
    parameters = function.get("parameters") or {}
    try:
        parameters = _recursive(own) or parameters
        if is_typed_dict(tool):
            parameters = with_nulls(parameters, tool)
        if isinstance(parameters, dict) and ("properties" in parameters or not parameters):
            parameters = {"type": "object", **parameters}
        check_schema(parameters)
    except ValueError as error:
        raise ValueError(f"the schema of tool {name!r} cannot be used: {error}") from None
    # What templates and engines look at, also of a tool without arguments.
    function["parameters"] = {**follow(parameters, parameters)}
    function["parameters"].setdefault("properties", {})
    if strict is not None:
        # Only now: the conversion cannot take `strict` for what has no parameters.
        spec = convert_to_openai_tool(function, strict=strict)
    return spec, own if isinstance(own, type) else None


def _own_schema(tool: Any) -> type[BaseModel] | dict[str, Any] | None:
    """Return what the tool's arguments become, as far as a model sees it, where that is known."""
    schema: Any = tool
    if isinstance(tool, Spec):
        return tool.model
    if isinstance(tool, dict) or (isinstance(tool, Tool) and not tool.args_schema):
        return None
    if isinstance(tool, BaseTool):
        schema = tool.tool_call_schema
    elif inspect.isroutine(tool):
        try:
            schema = create_schema_from_function(
                tool.__name__, tool, filter_args=(), parse_docstring=True, include_injected=False
            )
        except Exception:
            # What LangChain has made of the signature is enough to go by.
            return None
    if isinstance(schema, dict) or (isinstance(schema, type) and issubclass(schema, BaseModel)):
        return schema
    return None


def _recursive(own: type[BaseModel] | dict[str, Any] | None) -> Schema | None:
    """Return a tool's own schema if it is recursive.

    LangChain's conversion puts each definition in its place, and `{}` where that has no end: a
    model held to it would be held to nothing there.
    """
    try:
        schema = own.model_json_schema() if isinstance(own, type) else copy.deepcopy(own)
    except Exception:
        # Types that JSON schema cannot say; the conversion has coped with them.
        return None
    if schema is None or not is_recursive(schema):
        return None
    schema = follow(schema, schema)
    return {key: value for key, value in schema.items() if key not in ("title", "description")}


def _untitled(part: Any) -> Any:
    """Return a spec without the titles that pydantic gives; a property may be named `title`."""
    if isinstance(part, list):
        return [_untitled(each) for each in part]
    if not isinstance(part, dict):
        return part
    return {
        key: _untitled(value)
        for key, value in part.items()
        if key != "title" or not isinstance(value, str)
    }


def _choice(choice: Any, names: list[str]) -> tuple[Choice, str | None]:
    if isinstance(choice, Mapping):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, Mapping) else choice.get("name")
        choice = name if name is not None else choice.get("type")
        if choice is None or isinstance(choice, Mapping):
            raise ValueError('tool_choice names no tool; write {"type": "function", "function": …}')
    if not isinstance(choice, str | bool | None):
        raise TypeError(f"tool_choice must be a text, a dict or a bool, not {choice!r}")
    word = _WORDS.get(choice)
    if not names and word not in ("auto", "none"):
        raise ValueError(f"tool_choice is {choice!r}, and there are no tools to choose from")
    # A tool may have one of the words as its name; the words are what all of LangChain means.
    if word is not None:
        return word, None
    if choice not in names:
        raise ValueError(
            f"tool_choice is {choice!r}, which is no tool's name."
            f"{did_you_mean(str(choice), names)} Tools: {', '.join(names)}; or 'auto', 'any', "
            "'none'"
        )
    return "named", str(choice)


def _named(tool: Any) -> str:
    if isinstance(tool, Mapping):
        return repr(tool.get("name") or tool.get("title") or dict(tool))[:80]
    return str(getattr(tool, "__name__", None) or getattr(tool, "name", None) or repr(tool))[:80]


def _listed(names: list[str]) -> str:
    return "one of " + ", ".join(names) if len(names) > 1 else "".join(names) or "no tool"
