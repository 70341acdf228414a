from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.tools import InjectedToolArg, StructuredTool, Tool, tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, Field
from typing_extensions import TypedDict  # pydantic asks for it below Python 3.12

from langchain_wrap.chat.tool_schema import check_schema, is_recursive, mismatch, resolve
from langchain_wrap.chat.tools import Tools


class Weather(BaseModel):
    """The weather of a city."""

    city: str = Field(description="Its name.")
    unit: Literal["c", "f"] = "c"


class Node(BaseModel):
    """A tree."""

    value: int
    children: list[Node] = []


class Point(TypedDict):
    """A point."""

    x: Annotated[int, ..., "Across."]
    y: int


class Endless(TypedDict):
    """A chain."""

    next: Endless


def plant(tree: Node, where: Point, depth: int | None = None) -> str:
    """Plant a tree.

    Args:
        tree: Which tree.
        where: The place.
        depth: How deep.
    """
    return f"{tree} {where} {depth}"


def add(a: int, b: int = 0) -> int:
    """Add two numbers."""
    return a + b


@tool
def search(query: str, user: Annotated[str, InjectedToolArg]) -> str:
    """Search."""
    return query + user


NOW = {"name": "now", "description": "The time."}
OPENAI = {
    "type": "function",
    "function": {
        "name": "pay",
        "parameters": {
            "type": "object",
            "properties": {"amount": {"$ref": "#/$defs/amount"}, "to": {"enum": ["ann", "bob"]}},
            "required": ["amount"],
            "$defs": {"amount": {"type": "number"}},
        },
    },
}
ANTHROPIC = {
    "name": "read",
    "description": "Read a file.",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}},
}
JSON_SCHEMA = {
    "title": "write",
    "description": "Write a file.",
    "type": "object",
    "properties": {"path": {"type": "string"}},
    "additionalProperties": False,
}
EVERY = [Weather, Point, add, search, OPENAI, ANTHROPIC, JSON_SCHEMA, NOW]


def with_parameters(schema: Any) -> Tools:
    return Tools.of([{"name": "f", "parameters": schema}], "f")


# What is taken


def test_all_that_langchain_takes():
    tools = Tools.of(EVERY)
    assert tools.names == ["Weather", "Point", "add", "search", "pay", "read", "write", "now"]
    for spec, given_tool in zip(tools.specs, EVERY, strict=True):
        if given_tool is not NOW:
            expected = convert_to_openai_tool(given_tool)
            # Empty properties and the like are filled in.
            assert (
                spec["function"]["parameters"].items() >= expected["function"]["parameters"].items()
            )
            assert spec["function"].get("description") == expected["function"].get("description")
    assert tools.schema_of("now") == {"type": "object", "properties": {}}
    assert list(tools.schema_of("search")["properties"]) == ["query"]
    json.dumps(tools.specs)


def test_what_is_given_is_not_changed():
    before = json.dumps([OPENAI, ANTHROPIC, JSON_SCHEMA, NOW])
    tools = Tools.of([OPENAI, ANTHROPIC, JSON_SCHEMA, NOW], strict=True)
    tools.call_schema()
    tools.schema_of("pay")["properties"].clear()
    assert tools.schema_of("pay")["properties"]
    assert json.dumps([OPENAI, ANTHROPIC, JSON_SCHEMA, NOW]) == before


@pytest.mark.parametrize("strict", [True, False])
def test_strict_is_passed_on(strict):
    for spec in Tools.of(EVERY, strict=strict).specs:
        assert spec["function"]["strict"] is strict
        if strict:
            assert spec["function"]["parameters"]["additionalProperties"] is False
    assert "strict" not in Tools.of(EVERY).specs[0]["function"]


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        (None, ("auto", None)),
        ("auto", ("auto", None)),
        ("any", ("any", None)),
        ("required", ("any", None)),
        (True, ("any", None)),
        ("none", ("none", None)),
        (False, ("none", None)),
        ("now", ("named", "now")),
        ({"type": "function", "function": {"name": "now"}}, ("named", "now")),
        ({"type": "tool", "name": "now"}, ("named", "now")),
        ({"type": "any"}, ("any", None)),
    ],
)
def test_choices(choice, found):
    tools = Tools.of([NOW, add], choice)
    assert (tools.choice, tools.chosen) == found
    assert tools.offered is (found[0] != "none")
    assert tools.required is (found[0] in ("any", "named"))
    allowed = [spec["function"]["name"] for spec in tools.allowed]
    assert allowed == {"named": ["now"], "none": []}.get(found[0], ["now", "add"])


def test_no_tools():
    for choice in (None, "auto", "none", False):
        tools = Tools.of([], choice)
        assert not tools.offered
        assert not tools.required
        assert tools.specs == []


def test_parallel():
    assert Tools.of([NOW]).parallel
    assert Tools.of([NOW], parallel_tool_calls=True).parallel
    assert not Tools.of([NOW], parallel_tool_calls=False).parallel


def test_a_tool_that_is_given_twice_is_one():
    assert Tools.of([NOW, add, NOW]).names == ["now", "add"]


# What is refused

OTHER_NOW = {**NOW, "description": "Another."}


@pytest.mark.parametrize(
    ("tools", "choice", "error", "words"),
    [
        ([NOW, add, OTHER_NOW], None, ValueError, "tool 3 shadows another: both are named 'now'"),
        ([add], "ad", ValueError, "'ad', which is no tool's name. Did you mean 'add'?"),
        ([add], {"type": "function", "function": {"name": "x"}}, ValueError, "no tool's name"),
        ([add], {"type": "function", "function": {}}, ValueError, "no tool's name"),
        ([add], {}, ValueError, "names no tool"),
        ([add], 5, TypeError, "a text, a dict or a bool, not 5"),
        ([add], ["add"], TypeError, "a text, a dict or a bool"),
        ([], "any", ValueError, "'any', and there are no tools"),
        ([], True, ValueError, "there are no tools"),
        ([], "add", ValueError, "there are no tools"),
        ([5], None, TypeError, "tool 1 (5) cannot be used as one"),
        ([{"type": "web_search_preview"}], None, ValueError, "its provider runs itself"),
        ([{"type": "computer_1", "name": "computer"}], None, ValueError, "its provider runs"),
        ([lambda *, f: f, {"name": ""}], None, ValueError, "tool 2 has no name, but ''"),
        ([{"name": " "}], None, ValueError, "has no name"),
        ([Endless], None, ValueError, "recursive schema that cannot be converted"),
    ],
)
def test_bad_tools_and_choices(tools, choice, error, words):
    with pytest.raises(error) as caught:
        Tools.of(tools, choice)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("object", "no JSON schema, but str"),
        ({"type": "string"}, "not a schema of an object"),
        ({"type": "array", "items": {}}, "not a schema of an object"),
        (
            {"properties": {"a": {"$ref": "#/$defs/x"}}},
            "'#/$defs/x' leads nowhere (at #/properties",
        ),
        ({"properties": {"a": {"$ref": "#x"}}}, "leads nowhere"),
        ({"properties": {"a": {"$ref": "http://x.org/y.json"}}}, "leads out of the schema"),
        ({"properties": {"a": {"$ref": "y.json#/a"}}}, "leads out of the schema"),
        ({"properties": {"a": {"$ref": 5}}}, "$ref is no string"),
        ({"properties": {"a": {"$ref": "#/required"}}, "required": ["a"]}, "which is no schema"),
        (
            {"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"$ref": "#/$defs/b"}}},
            "leads only to itself",
        ),
        (
            {"properties": {"a": {"$ref": "#/properties/b"}, "b": {"$ref": "#/properties/a"}}},
            "leads only to itself",
        ),
        ({"properties": {"a": {"$dynamicRef": "#a"}}}, "not understood"),
        ({"properties": {"a": {"type": "text"}}}, '"text" is no type of JSON schema'),
        ({"properties": {"a": {"type": ["string", "nil"]}}}, '"nil" is no type'),
        ({"properties": {"a": "string"}}, "'a' has no schema, but"),
        ({"properties": ["a"]}, "'properties' is no object"),
        ({"properties": {"a": {"enum": []}}}, "'enum' is no list with something in it"),
        ({"properties": {"a": {"anyOf": {}}}}, "'anyOf' is no list"),
        ({"properties": {"a": {}}, "required": "a"}, "'required' is no list of keys"),
        ({"properties": {"a": {"default": object()}}}, "are not JSON"),
        ({"properties": {"a": {"items": {"anyOf": [{"type": "x"}]}}}}, "(at #/properties/a/items"),
    ],
)
def test_schemas_that_cannot_be_used(schema, words):
    with pytest.raises(ValueError, match="schema of tool 'f' cannot be used") as caught:
        with_parameters(schema)
    assert words in str(caught.value)


def test_a_word_in_data_is_no_reference():
    schema = {
        "type": "object",
        "properties": {
            "$ref": {"type": "string", "default": {"$ref": "x"}},
            "a": {"const": {"$ref": "nowhere"}},
            "type": {"enum": [{"type": "bad"}]},
            "$defs": {"type": "integer"},
        },
    }
    found = with_parameters(schema).call_schema()
    assert found["anyOf"][0]["properties"]["arguments"] == {
        **schema,
        "additionalProperties": False,
    }


# The schema of a call


def test_the_schema_of_a_call():
    tools = Tools.of([OPENAI, NOW], "any")
    assert tools.call_schema() == {
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "name": {"const": "pay"},
                    "arguments": {
                        "type": "object",
                        "properties": {
                            "amount": {"$ref": "#/$defs/t0_amount"},
                            "to": {"enum": ["ann", "bob"]},
                        },
                        "required": ["amount"],
                        "additionalProperties": False,
                    },
                },
                "required": ["name", "arguments"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "properties": {
                    "name": {"const": "now"},
                    "arguments": {
                        "type": "object",
                        "properties": {},
                        "additionalProperties": False,
                    },
                },
                "required": ["name", "arguments"],
                "additionalProperties": False,
            },
        ],
        "$defs": {"t0_amount": {"type": "number"}},
    }


def test_the_name_comes_first_under_any_keys():
    (found,) = Tools.of([NOW], "any").call_schema("function", "parameters")["anyOf"]
    assert list(found["properties"]) == found["required"] == ["function", "parameters"]


def test_only_what_the_choice_allows():
    assert len(Tools.of([NOW, add], "any").call_schema()["anyOf"]) == 2
    (found,) = Tools.of([NOW, add], "add").call_schema()["anyOf"]
    assert found["properties"]["name"] == {"const": "add"}


def test_definitions_of_one_name_do_not_meet():
    first, second = (
        {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/x y/z"}, "b": {"$ref": "#/definitions/x"}},
                "$defs": {"x y": {"z": {"type": kind}}},
                "definitions": {"x": {"type": "null"}, "unused": {}},
            },
        }
        for name, kind in (("f", "string"), ("g", "integer"))
    )
    found = Tools.of([first, second], "any").call_schema()
    assert found["$defs"] == {
        "t0_z": {"type": "string"},
        "t0_x": {"type": "null"},
        "t1_z": {"type": "integer"},
        "t1_x": {"type": "null"},
    }


@pytest.mark.parametrize("given_tool", [Node, plant])
def test_recursive_schemas_stay_recursive(given_tool):
    tools = Tools.of([given_tool], "any")
    name = given_tool.__name__
    assert is_recursive(tools.schema_of(name))
    assert tools.schema_of(name)["type"] == "object"
    found = tools.call_schema()
    node = found["$defs"]["t0_Node"]
    assert node["properties"]["children"]["items"] == {"$ref": "#/$defs/t0_Node"}
    assert node["additionalProperties"] is False
    assert next(iter(found["$defs"])) == "t0_Node"
    bad = {"value": 1, "children": [{"value": 2, "children": [{"value": "x"}]}]}
    args = bad if name == "Node" else {"tree": bad, "where": {"x": 1, "y": 2}}
    assert "int" in tools.check_call(name, args)
    assert mismatch(found, {"name": name, "arguments": args}) is not None


def test_a_recursive_schema_of_a_tool_from_elsewhere_stays_recursive():
    schema = {
        "type": "object",
        "properties": {"n": {"$ref": "#/$defs/N"}},
        "$defs": {
            "N": {"type": "object", "properties": {"k": {"items": {"$ref": "#/$defs/N"}}}},
        },
    }
    remote = StructuredTool(name="f", description="", args_schema=schema, func=lambda **k: k)
    for tools in (Tools.of([remote], "f"), with_parameters(schema)):
        assert is_recursive(tools.schema_of("f"))
        assert "must be of type object" in tools.check_call("f", {"n": {"k": [{"k": [5]}]}})


@pytest.mark.parametrize("reference", ["#", "#/properties/tree", "#/properties/tree/properties/l"])
def test_references_to_any_place(reference):
    schema = {
        "type": "object",
        "properties": {
            "tree": {
                "type": "object",
                "properties": {"l": {"type": "integer"}, "r": {"$ref": reference}},
            }
        },
    }
    found = with_parameters(schema).call_schema()
    check_schema({"type": "object", **found})
    r = found["anyOf"][0]["properties"]["arguments"]["properties"]["tree"]["properties"]["r"]
    assert resolve(found, r["$ref"])["type"] == ("integer" if reference.endswith("l") else "object")


def test_objects_are_closed_where_nothing_is_said():
    inner = {"type": "object", "properties": {"x": {}}}
    schema = {
        "type": "object",
        "properties": {
            "closed": inner,
            "list": {"type": "array", "items": inner},
            "open": {**inner, "additionalProperties": True},
            "free": {"type": "object"},
            "map": {"type": "object", "additionalProperties": {"type": "integer"}},
            "both": {"allOf": [inner, {"properties": {"y": {}}}]},
            "maybe": {"anyOf": [inner, {"type": "null"}]},
        },
    }
    (call,) = with_parameters(schema).call_schema()["anyOf"]
    found = call["properties"]["arguments"]["properties"]
    shut = {**inner, "additionalProperties": False}
    assert found == {
        **schema["properties"],
        "closed": shut,
        "list": {"type": "array", "items": shut},
        "maybe": {"anyOf": [shut, {"type": "null"}]},
    }


@pytest.mark.parametrize(
    ("choice", "names", "given_tools"),
    [("any", None, EVERY), ("add", ["add"], EVERY), ("any", None, [Node, plant, OPENAI])],
)
def test_what_is_valid_is_valid(choice, names, given_tools):
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    tools = Tools.of(given_tools, choice)
    schema = tools.call_schema()
    validator.check_schema(schema)
    for name, args in [
        ("Weather", {"city": "Köln"}),
        ("Point", {"x": 1, "y": 2}),
        ("add", {"a": 1}),
        ("search", {"query": "x"}),
        ("pay", {"amount": 1.5, "to": "ann"}),
        ("write", {"path": "x"}),
        ("now", {}),
        ("Node", {"value": 1, "children": [{"value": 2, "children": []}]}),
        ("plant", {"tree": {"value": 1, "children": [{"value": 2}]}, "where": {"x": 1, "y": 2}}),
    ]:
        made = {"name": name, "arguments": args}
        valid = name in (names or tools.names)
        assert validator(schema).is_valid(made) is valid
        assert not validator(schema).is_valid({"name": name, "arguments": {**args, "zz": 1}})
        assert (tools.check_call(name, args) is None) is valid


# What is wrong with a call


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("ad", {}, "there is no tool 'ad'. Did you mean 'add'? Call one of Weather, Point, add"),
        (
            "add",
            {"a": "x"},
            "the arguments of 'add' do not fit: a: Input should be a valid integer",
        ),
        ("add", {}, "a: Field required"),
        ("Weather", {"city": "x", "unit": "k"}, "unit: Input should be 'c' or 'f'"),
        ("search", {}, "query: Field required"),
        ("Point", {"x": 1}, "the arguments of 'Point' do not fit: y: is required"),
        ("Point", {"x": 1, "y": True}, "y: must be of type integer, not true"),
        ("pay", {"amount": "5"}, 'amount: must be of type number, not "5"'),
        ("pay", {"amount": 5, "to": "cy"}, 'to: must be one of "ann", "bob", not "cy"'),
        ("write", {"pat": "x"}, "pat: is unknown (known: path)"),
    ],
)
def test_what_is_wrong_with_a_call(name, args, words):
    assert words in Tools.of(EVERY).check_call(name, args)


def test_a_call_that_the_choice_does_not_allow():
    assert Tools.of([NOW, add], "now").check_call("add", {"a": 1}) == (
        "the tool 'add' may not be called now; call now"
    )
    assert "may not be called now; call no tool" in Tools.of([NOW], "none").check_call("now", {})


def test_a_tool_of_one_argument():
    simple = Tool(name="ask", description="Ask.", func=lambda text: text)
    assert Tools.of([simple]).check_call("ask", {"__arg1": "why"}) is None


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        ({"type": "integer"}, 3.0, None),
        ({"type": "integer"}, 3.5, "must be of type integer, not 3.5"),
        ({"type": "number"}, True, "must be of type number, not true"),
        ({"type": ["string", "null"]}, None, None),
        ({"type": ["string", "null"]}, 1, "must be of type string or null, not 1"),
        ({"enum": [1, "a", None]}, None, None),
        ({"enum": [1]}, True, "must be one of 1, not true"),
        ({"const": "x"}, "y", 'must be "x", not "y"'),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None, None),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 1, "must be of type string, not 1"),
        ({"allOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1}, "b: is required"),
        ({"items": {"type": "string"}}, ["a", 1], "[1]: must be of type string, not 1"),
        ({"properties": {"a": {"items": {"type": "null"}}}}, {"a": [1]}, "a[0]: must be of type"),
        ({"additionalProperties": {"type": "string"}}, {"a": 1}, "a: must be of type string"),
        ({"additionalProperties": False}, {"a": 1}, "a: is unknown (known: none)"),
        ({"patternProperties": {"a": {}}, "additionalProperties": False}, {"a": 1}, None),
        ({"properties": {"a": True, "b": False}}, {"a": 1}, None),
        ({}, {"a": [1]}, None),
    ],
)
def test_mismatch(schema, value, problem):
    found = mismatch(schema, value)
    assert found is None if problem is None else problem in found


json_types = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])
schemas = st.recursive(
    st.fixed_dictionaries({"type": json_types})
    | st.sampled_from([{}, {"$ref": "#/$defs/d"}, {"enum": ["a", 1]}, {"const": None}]),
    lambda inner: (
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(st.text("ab", max_size=2), inner),
            }
        )
        | st.fixed_dictionaries({"type": st.just("array"), "items": inner})
        | st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)})
    ),
    max_leaves=6,
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["a", "b", 0.5]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=2), inner),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None)
@given(
    schemas.filter(lambda schema: "$ref" not in schema), schemas, st.dictionaries(st.text(), values)
)
def test_schemas_and_their_check_agree_with_jsonschema(target, schema, args):
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    root = {"type": "object", "properties": {"a": schema}, "$defs": {"d": target}}
    try:
        tools = with_parameters(root)
    except ValueError as error:
        assert "leads only to itself" in str(error)  # noqa: PT017
        return
    assert (tools.check_call("f", args) is None) == validator(root).is_valid(args)
    found = tools.call_schema()
    made = {"name": "f", "arguments": args}
    assert (mismatch(found, made) is None) == validator(found).is_valid(made)
    if validator(found).is_valid(made):
        assert validator(root).is_valid(args)
