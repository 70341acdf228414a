"""Structured output, on chat models and on plain LLMs."""

from __future__ import annotations

import datetime
import enum
import functools
import json
import operator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

import jsonschema
import pytest
from chat_llms import Held, Scripted
from langchain_core.exceptions import OutputParserException
from langchain_core.prompts import PromptTemplate
from pydantic import BaseModel, ConfigDict, Field

from langchain_wrap import wrap
from langchain_wrap.chat.structured import schema_of
from langchain_wrap.chat.tools import Tools


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int = Field(description="in years")


class PersonDict(TypedDict):
    """Somebody."""

    name: str
    age: int


class Described(TypedDict):
    """Somebody."""

    name: Annotated[str, ..., "the first name"]
    age: Annotated[int, ..., "in years"]


@dataclass
class PersonData:
    name: str
    age: int


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


BOB = {"name": "Bob", "age": 42}
AS_TOOL = {
    "name": "person",
    "description": "Somebody.",
    "parameters": Person.model_json_schema(),
}
WANTED: list[tuple[Any, Any]] = [
    (Person, Person(**BOB)),
    (PersonDict, BOB),
    (Described, BOB),
    (PersonData, PersonData(**BOB)),
    (Person.model_json_schema(), BOB),
    (AS_TOOL, BOB),
    ({"type": "function", "function": AS_TOOL}, BOB),
]
CALL = "<tool_call>\n" + json.dumps({"name": "{}", "arguments": BOB}) + "\n</tool_call>"


def said(method: str, schema: Any) -> str:
    if method != "function_calling":
        return json.dumps(BOB)
    return CALL.replace('"{}"', json.dumps(schema_of(schema)["title"]))


@pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
@pytest.mark.parametrize(("schema", "wanted"), WANTED)
async def test_every_schema_by_every_method(method, schema, wanted):
    llm = Scripted(answers=[said(method, schema)] * 3)
    chat = llm.as_chat(template="chatml").with_structured_output(schema, method=method)
    assert chat.invoke("Bob is 42.") == wanted
    assert await chat.ainvoke("Bob is 42.") == wanted
    assert list(chat.stream("Bob is 42."))[-1] == wanted


def test_a_plain_llm_has_it_too():
    llm = wrap(lambda prompt: f"Sure:\n```json\n{json.dumps(BOB)}\n```", name="f")
    chain = PromptTemplate.from_template("{who} is 42.") | llm.with_structured_output(Person)
    assert chain.invoke({"who": "Bob"}) == Person(**BOB)


def test_the_schema_is_told_in_the_prompt():
    llm = Scripted(answers=[json.dumps(BOB)])
    llm.with_structured_output(Person).invoke("Bob is 42.")
    assert '"in years"' in llm.asked[0]


def test_a_model_that_can_be_held_to_a_schema_is_held_to_it():
    llm = Held(answers=[json.dumps(BOB)])
    llm.with_structured_output(Person).invoke("Bob is 42.")
    schema = llm.seen[0]["json_schema"]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(BOB, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**BOB, "more": 1}, schema)


def test_a_stream_gives_the_object_as_far_as_it_has_come():
    llm = Scripted(answers=[json.dumps(BOB)])
    seen = list(llm.with_structured_output(PersonDict.__annotations__ and AS_TOOL).stream("x"))
    assert seen[-1] == BOB
    assert {"name": "Bob"} in seen
    assert len(seen) > 2


def test_include_raw_gives_the_error_instead_of_raising_it():
    llm = Scripted(answers=["no idea", json.dumps(BOB)])
    chat = llm.with_structured_output(Person, include_raw=True)
    failed = chat.invoke("x")
    assert failed["raw"].text == "no idea"
    assert failed["parsed"] is None
    assert isinstance(failed["parsing_error"], OutputParserException)
    good = chat.invoke("x")
    assert good["parsed"] == Person(**BOB)
    assert good["parsing_error"] is None


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_an_answer_that_is_cut_off_says_so(method):
    answer = said(method, Person)[:-20]
    llm = Scripted(answers=[answer] * 4, reason="length")
    chat = llm.as_chat(template="chatml").with_structured_output(Person, method=method)
    with pytest.raises(OutputParserException, match="cut off"):
        chat.invoke("x")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [("no idea", "no idea"), ('{"name": "Bob"}', "age"), ("[1, 2]", "no JSON object")],
)
def test_an_answer_that_is_no_such_object_is_an_error_that_says_why(answer, problem):
    with pytest.raises(OutputParserException, match=problem):
        Scripted(answers=[answer]).with_structured_output(Person).invoke("x")


BROKEN = ['{"name": "Ro', '{"name": "Bob", "age": 4', '{"name": "Bob", "age": "many"}', "none"]


@pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
@pytest.mark.parametrize("schema", [Person, PersonDict, Described, PersonData])
@pytest.mark.parametrize("answer", BROKEN)
@pytest.mark.parametrize("reason", [None, "stop"])
async def test_what_is_no_object_is_none_on_any_path(method, schema, answer, reason):
    if method == "function_calling":
        start = {"name": schema_of(schema)["title"], "arguments": {}}
        answer = f"<tool_call>\n{json.dumps(start)[:-3]}{answer}"

    def chat(**how):
        llm = Scripted(answers=[answer] * 9, reason=reason)
        chat = llm.as_chat(template="chatml", max_repairs=0)
        return chat.with_structured_output(schema, method=method, **how)

    with pytest.raises(OutputParserException):
        chat().invoke("x")
    with pytest.raises(OutputParserException):
        await chat().ainvoke("x")
    with pytest.raises(OutputParserException):
        list(chat().stream("x"))
    with pytest.raises(OutputParserException):
        [part async for part in chat().astream("x")]
    raw = chat(include_raw=True)
    whole = raw.invoke("x")
    for found in (
        whole,
        await raw.ainvoke("x"),
        functools.reduce(operator.add, raw.stream("x")),
        functools.reduce(operator.add, [part async for part in raw.astream("x")]),
        raw.batch(["x"])[0],
    ):
        assert set(found) == {"raw", "parsed", "parsing_error"}
        assert found["raw"].text == whole["raw"].text
        assert found["parsed"] is None
        assert isinstance(found["parsing_error"], OutputParserException)


def test_what_a_stop_cuts_is_no_object():
    llm = wrap(lambda prompt: '{"name": "Bob of Rome", "age": 42}', name="f")
    with pytest.raises(OutputParserException, match="no whole JSON object"):
        llm.with_structured_output(Person).invoke("x", stop=["Rome"])


def test_what_is_said_after_the_object_is_left_out():
    llm = Scripted(answers=[f"{json.dumps(BOB)}\n\nI hope this helps {{you}}!"])
    assert llm.with_structured_output(Person).invoke("x") == Person(**BOB)


def test_the_raw_answer_streams_beside_the_object():
    chat = Scripted(answers=[json.dumps(BOB)]).with_structured_output(Person, include_raw=True)
    parts = list(chat.stream("x"))
    assert len([part for part in parts if "raw" in part and part["raw"].text]) > 3
    assert parts[-1] == {"parsed": Person(**BOB), "parsing_error": None}


class Grade(enum.Enum):
    A = "a"


class Exact(BaseModel):
    """A class that is strict with what Python gives it."""

    model_config = ConfigDict(strict=True)

    when: datetime.date
    grade: Grade
    pair: tuple[int, int]


@pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
def test_a_strict_class_takes_what_json_can_say(method):
    told = {"when": "2020-01-02", "grade": "a", "pair": [1, 2]}
    call = f"<tool_call>{json.dumps({'name': 'Exact', 'arguments': told})}</tool_call>"
    llm = Scripted(answers=[call if method == "function_calling" else json.dumps(told)])
    chat = llm.as_chat(template="chatml").with_structured_output(Exact, method=method)
    wanted = Exact(when=datetime.date(2020, 1, 2), grade=Grade.A, pair=(1, 2))
    assert chat.invoke("x") == wanted
    assert len(llm.asked) == 1


class Rated(TypedDict):
    """A joke."""

    text: Annotated[str, ..., "the joke"]
    rating: Annotated[int | None, None, "from 1 to 10"]
    kind: Annotated[Literal["pun", "riddle"] | None, None, "what kind"]


def test_null_is_a_value_of_an_optional_key():
    told = {"text": "x", "rating": None, "kind": None}
    assert Scripted(answers=[json.dumps(told)]).with_structured_output(Rated).invoke("x") == told
    assert Tools.of([Rated]).check_call("Rated", told) is None
    assert "riddle" in Tools.of([Rated]).check_call("Rated", {**told, "kind": "long"})


def test_a_call_is_checked_by_the_class_and_asked_for_again():
    class Low(BaseModel):
        n: int = Field(ge=1)

    calls = [f'<tool_call>{{"name": "Low", "arguments": {{"n": {n}}}}}</tool_call>' for n in (0, 2)]
    llm = Scripted(answers=calls)
    chat = llm.as_chat(template="chatml")
    assert chat.with_structured_output(Low, method="function_calling").invoke("x") == Low(n=2)
    assert "greater than or equal to 1" in llm.asked[1]


def test_a_dict_is_validated_by_its_json_schema():
    schema = {"title": "A", "type": "object", "properties": {"ok": {"type": "boolean"}}}
    for answer in ({"ok": True}, {"ok": True, "more": 1}):
        llm = Scripted(answers=[json.dumps(answer)])
        assert llm.with_structured_output(schema).invoke("x") == answer
    with pytest.raises(OutputParserException, match="ok: must be of type boolean"):
        Scripted(answers=['{"ok": 5}']).with_structured_output(schema).invoke("x")


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_a_template_that_opens_the_reasoning_does_not_make_the_object_reasoning(method):
    template = "{% for m in messages %}{{ m.content }}\n{% endfor %}assistant: <think>\n"
    answer = json.dumps(BOB)
    if method == "function_calling":
        answer = json.dumps({"name": "Person", "arguments": BOB})
    llm = Held(answers=[answer])
    chat = llm.as_chat(template=template).with_structured_output(Person, method=method)
    assert chat.invoke("Bob is 42.") == Person(**BOB)


def test_a_call_that_is_never_made_is_an_error():
    llm = Scripted(answers=["no"] * 3)
    chat = llm.with_structured_output(Person, method="function_calling")
    with pytest.raises(OutputParserException, match="calls no tool"):
        chat.invoke("x")


def test_recursive_schemas_work():
    answer = '{"value": 1, "children": [{"value": 2, "children": []}]}'
    for method in ("json_schema", "function_calling"):
        said = answer
        if method == "function_calling":
            said = f'<tool_call>\n{{"name": "Tree", "arguments": {answer}}}\n</tool_call>'
        llm = Scripted(answers=[said])
        chat = llm.as_chat(template="chatml").with_structured_output(Tree, method=method)
        assert chat.invoke("x") == Tree(value=1, children=[Tree(value=2)])


@pytest.mark.parametrize(
    ("schema", "error", "problem"),
    [
        (int, TypeError, "pydantic, TypedDict or dataclass"),
        ("Person", TypeError, "not 'Person'"),
        ({"type": "array"}, ValueError, "object"),
        ({"title": "A", "type": "object", "properties": {"a": {"$ref": "#/$defs/B"}}}, ValueError,
         "leads nowhere"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_used_is_an_error_at_once(schema, error, problem):
    with pytest.raises(error, match=problem):
        Scripted(answers=[]).as_chat().with_structured_output(schema)


def test_an_unknown_method_is_an_error_with_those_there_are():
    with pytest.raises(ValueError, match="json_schema, function_calling, json_mode"):
        Scripted(answers=[]).as_chat().with_structured_output(Person, method="json")


@pytest.mark.parametrize(
    "form",
    [
        {"type": "json_schema", "json_schema": {"name": "P", "schema": Person.model_json_schema()}},
        Person,
    ],
)
def test_openais_response_format_is_understood(form):
    llm = Held(answers=[json.dumps(BOB)])
    llm.as_chat().bind(response_format=form).invoke("x")
    assert set(llm.seen[0]["json_schema"]["properties"]) == {"name", "age"}
    llm = Held(answers=["{}"])
    llm.as_chat().invoke("x", response_format={"type": "json_object"})
    assert llm.seen[0]["json_schema"] == {"type": "object"}
