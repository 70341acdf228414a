"""JSON schemas of tools: checked, put together into one, and compared with arguments."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast, get_args
from urllib.parse import unquote

from pydantic import TypeAdapter, ValidationError
from typing_extensions import get_type_hints

Schema = dict[str, Any]

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list, tuple),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
# Where a schema holds schemas. All else (enum, const, default, examples) is data, in which a
# "$ref" is a word like any other.
_SINGLE = (
    "items",
    "additionalProperties",
    "additionalItems",
    "contains",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "not",
    "if",
    "then",
    "else",
)
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_MAPS = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
_UNIONS = ("anyOf", "oneOf")


def check_schema(schema: Schema) -> None:
    """Raise ValueError, saying what and where, if no call can be held to `schema`."""
    if not isinstance(schema, dict):
        raise ValueError(f"its parameters are no JSON schema, but {type(schema).__name__}")
    try:
        json.dumps(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"its parameters are not JSON: {error}") from None
    for where, part in _walk(schema, "#"):
        _check_part(schema, where, part)
    root = follow(schema, schema)
    if root.get("type") != "object":
        raise ValueError(
            f"its parameters are not a schema of an object, but {_short(root)}; "
            'arguments are {"type": "object", "properties": {...}}'
        )


def is_recursive(schema: Schema) -> bool:
    """Whether a value of `schema` may hold a value of the same schema."""
    inside: set[str] = set()
    known: set[str] = set()

    def visit(part: Any) -> bool:
        for _, each in _walk(part, "", definitions=False):
            reference = each.get("$ref")
            if not isinstance(reference, str) or reference in known:
                continue
            if reference in inside:
                return True
            inside.add(reference)
            if visit(resolve(schema, reference)):
                return True
            inside.discard(reference)
            known.add(reference)
        return False

    return visit(schema)


def resolve(root: Schema, reference: str) -> Any:
    """Return what a `$ref` within `root` leads to.

    Raises:
        ValueError: It leads nowhere, or out of the schema.
    """
    if not reference.startswith("#"):
        raise ValueError(
            f"$ref {reference!r} leads out of the schema; put what it means under $defs"
        )
    value: Any = root
    if reference != "#":
        for step in _pointer(reference):
            if isinstance(value, dict) and step in value:
                value = value[step]
            elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
                value = value[int(step)]
            else:
                raise ValueError(f"$ref {reference!r} leads nowhere")
    if not isinstance(value, dict | bool):
        raise ValueError(f"$ref {reference!r} leads to {_short(value)}, which is no schema")
    return value


def follow(root: Schema, part: Any) -> Schema:
    """Return `part`, or what it is a mere reference to, as a dict."""
    seen = set()
    while isinstance(part, dict) and isinstance(reference := part.get("$ref"), str):
        if reference in seen:
            raise ValueError(f"$ref {reference!r} leads only to itself")
        seen.add(reference)
        beside = {key: value for key, value in part.items() if key != "$ref"}
        target = resolve(root, reference)
        if not isinstance(target, dict):
            return beside if target else {"not": {}}
        part = {**target, **beside}
        if "$ref" not in target:
            break
        part["$ref"] = target["$ref"]
    if isinstance(part, dict):
        return part
    return {"not": {}} if part is False else {}


class Hoist:
    """Moves schemas of several documents into one, in which all their `$ref`s hold.

    What is referred to becomes an entry of `defs`, to go under `$defs` of the new document. Objects
    are closed on the way: a model held to an open one would go on to add keys.
    """

    def __init__(self) -> None:
        self.defs: dict[str, Any] = {}

    def add(self, prefix: str, root: Schema) -> Schema:
        """Return `root` to be embedded; `prefix` begins the names of what it refers to."""
        names: dict[str, str] = {}

        def entry(reference: str) -> str:
            if reference not in names:
                last = _pointer(reference)[-1] if reference not in ("#", "#/") else "root"
                name = names[reference] = self._free(f"{prefix}_{last}")
                self.defs[name] = {}  # in its place before what it refers to itself
                self.defs[name] = self._copy(resolve(root, reference), entry)
            return f"#/$defs/{names[reference]}"

        # Without properties it would stay open, and a tool without arguments be given some.
        whole = {"properties": {}, **follow(root, root)}
        return cast("Schema", self._copy(whole, entry))

    def _free(self, wanted: str) -> str:
        wanted = re.sub(r"\W", "_", wanted, flags=re.ASCII)
        name, number = wanted, 1
        while name in self.defs:
            number += 1
            name = f"{wanted}_{number}"
        return name

    def _copy(self, part: Any, entry: Callable[[str], str], *, close: bool = True) -> Any:
        if not isinstance(part, dict):
            return part
        out: Schema = {}
        for key, value in part.items():
            if key in ("$defs", "definitions", "$schema", "$id"):
                continue
            if key == "$ref" and isinstance(value, str):
                out[key] = entry(value)
            elif key in _MAPS and isinstance(value, dict):
                out[key] = {name: self._copy(each, entry) for name, each in value.items()}
            elif key in _LISTS and isinstance(value, list):
                # Each of allOf sees all the keys of the object, also those of the others.
                out[key] = [self._copy(each, entry, close=key != "allOf") for each in value]
            elif key in _SINGLE:
                out[key] = self._copy(value, entry)
            else:
                out[key] = copy.deepcopy(value)
        open_ended = ("additionalProperties", "patternProperties", "unevaluatedProperties", "allOf")
        if close and "properties" in out and not any(key in out for key in (*open_ended, "$ref")):
            out["additionalProperties"] = False
        return out


def is_typed_dict(kind: Any) -> bool:
    """Whether it is a TypedDict; `typing` by itself does not know those of typing_extensions."""
    return isinstance(kind, type) and issubclass(kind, dict) and hasattr(kind, "__required_keys__")


def with_nulls(schema: Schema, typed_dict: Any) -> Schema:
    """Return the schema that langchain-core makes of a TypedDict, with null where a key takes None.

    It leaves that out: `Annotated[Optional[int], None, "…"]` becomes an integer.
    """
    properties = dict(schema.get("properties", {}))
    try:
        hints = get_type_hints(typed_dict)
    except NameError:  # a type of a local name
        return schema
    for name, hint in hints.items():
        if name in properties and type(None) in get_args(hint):
            about = dict(properties[name])
            description = about.pop("description", None)
            kinds = about.pop("anyOf", None) or [about]
            properties[name] = {
                **({} if description is None else {"description": description}),
                "anyOf": [*kinds, {"type": "null"}],
            }
    return {**schema, "properties": properties}


def validated(adapter: TypeAdapter[Any], value: Any) -> Any:
    """Return the object that a class makes of what was read from JSON.

    A strict class takes dates, enums and the like from JSON's texts, and not from Python's.

    Raises:
        ValidationError: It makes none.
    """
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        try:
            return adapter.validate_json(json.dumps(value))
        except ValueError:
            raise error from None


def mismatch(schema: Schema, value: Any) -> str | None:
    """Return what is wrong with `value` under `schema`, or None.

    Types, enums, required and unknown keys, unions and references are looked at; not patterns,
    formats and bounds.
    """
    problems = list(_problems(schema, schema, value, ""))
    return "; ".join(problems) or None


def _problems(root: Schema, schema: Any, value: Any, where: str) -> Iterator[str]:
    schema = follow(root, schema)
    here = f"{where}: " if where else ""
    if "const" in schema and not _same(schema["const"], value):
        yield f"{here}must be {_short(schema['const'])}, not {_short(value)}"
        return
    enum = schema.get("enum")
    if isinstance(enum, list) and not any(_same(each, value) for each in enum):
        choices = ", ".join(_short(each) for each in enum)
        yield f"{here}must be one of {choices}, not {_short(value)}"
        return
    kinds = schema.get("type")
    if kinds is not None and not any(
        _is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)
    ):
        wanted = kinds if isinstance(kinds, str) else " or ".join(kinds)
        yield f"{here}must be of type {wanted}, not {_short(value)}"
        return
    for key in _UNIONS:
        if schema.get(key):
            tried = [list(_problems(root, each, value, where)) for each in schema[key]]
            if all(tried):
                # What comes nearest to the value tells most.
                yield from min(tried, key=len)
    for each in schema.get("allOf", ()):
        yield from _problems(root, each, value, where)
    if isinstance(value, dict):
        yield from _key_problems(root, schema, value, where)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for number, item in enumerate(value):
            yield from _problems(root, schema["items"], item, f"{where}[{number}]")


def _key_problems(root: Schema, schema: Schema, value: dict[str, Any], where: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for key in schema.get("required", ()):
        if key not in value:
            yield f"{_path(where, key)}: is required"
    for key, item in value.items():
        if key in properties:
            yield from _problems(root, properties[key], item, _path(where, key))
        elif schema.get("additionalProperties") is False and "patternProperties" not in schema:
            known = ", ".join(properties) or "none"
            yield f"{_path(where, key)}: is unknown (known: {known})"
        elif isinstance(schema.get("additionalProperties"), dict):
            yield from _problems(root, schema["additionalProperties"], item, _path(where, key))


def _walk(part: Any, where: str, *, definitions: bool = True) -> Iterator[tuple[str, Schema]]:
    """Give each schema within a schema, with its place."""
    if not isinstance(part, dict):
        return
    yield where, part
    for key, value in part.items():
        if not definitions and key in ("$defs", "definitions"):
            continue
        if key in _MAPS and isinstance(value, dict):
            inner: Mapping[Any, Any] = value
        elif key in _LISTS and isinstance(value, list):
            inner = dict(enumerate(value))
        elif key in _SINGLE:
            inner = {"": value}
        else:
            continue
        for name, each in inner.items():
            place = f"{where}/{key}/{name}" if name != "" else f"{where}/{key}"
            yield from _walk(each, place, definitions=definitions)


def _check_part(root: Schema, where: str, part: Schema) -> None:
    at = "" if where == "#" else f" (at {where})"
    kinds = part.get("type")
    for kind in kinds if isinstance(kinds, list) else [] if kinds is None else [kinds]:
        if not isinstance(kind, str) or kind not in _TYPES:
            raise ValueError(f"{_short(kind)} is no type of JSON schema{at}")
    for key in _MAPS:
        if not isinstance(part.get(key, {}), dict):
            raise ValueError(f"{key!r} is no object{at}")
    for key in ("anyOf", "oneOf", "allOf", "enum"):
        if key in part and not (isinstance(part[key], list) and part[key]):
            raise ValueError(f"{key!r} is no list with something in it{at}")
    required = part.get("required", [])
    if not isinstance(required, list) or not all(isinstance(key, str) for key in required):
        raise ValueError(f"'required' is no list of keys{at}")
    for key in ("properties", "patternProperties", "$defs", "definitions"):
        for name, each in part.get(key, {}).items():
            if not isinstance(each, dict | bool):
                raise ValueError(f"{name!r} has no schema, but {_short(each)}{at}")
    if "$dynamicRef" in part or "$recursiveRef" in part:
        raise ValueError(f"$dynamicRef and $recursiveRef are not understood{at}; use $ref")
    if "$ref" in part:
        if not isinstance(part["$ref"], str):
            raise ValueError(f"$ref is no string{at}")
        try:
            resolve(root, part["$ref"])
        except ValueError as error:
            raise ValueError(f"{error}{at}") from None
    if _only_itself(root, part, []):
        raise ValueError(f"the schema leads only to itself{at}, so no value can end")


def _only_itself(root: Schema, part: Any, seen: list[int]) -> bool:
    """Whether a value of `part` would have to be a value of `part`, without an end."""
    if not isinstance(part, dict):
        return False
    if id(part) in seen:
        return True
    seen = [*seen, id(part)]
    if isinstance(part.get("$ref"), str) and _only_itself(root, resolve(root, part["$ref"]), seen):
        return True
    return any(
        _only_itself(root, each, seen) for key in (*_UNIONS, "allOf") for each in part.get(key, ())
    )


def _pointer(reference: str) -> list[str]:
    if not reference.startswith("#/"):
        raise ValueError(f"$ref {reference!r} leads nowhere")
    steps = unquote(reference[2:]).split("/")
    return [step.replace("~1", "/").replace("~0", "~") for step in steps]


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _same(left: Any, right: Any) -> bool:
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def _path(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
