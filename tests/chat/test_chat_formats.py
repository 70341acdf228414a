from __future__ import annotations

import itertools
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk, ToolCall, ToolMessage
from langchain_core.messages.tool import tool_call_chunk

from langchain_wrap.chat.formats import FORMATS, format_of
from langchain_wrap.chat.pieces import CallDelta, InvalidCall, Text
from langchain_wrap.chat.tools import Tools

NAMES = ["get_weather", "search", "now", "wetter_für_köln", "天気"]
TOOLS = Tools.of(
    [
        {
            "name": name,
            "description": f"Does {name}.",
            "parameters": {"type": "object", "properties": {"a": {"type": "string"}}},
        }
        for name in NAMES
    ]
)
EVERY = list(FORMATS)


def pieces_of(format_name: str, *chunks: str, tools: Tools = TOOLS):
    parser = FORMATS[format_name].parser(tools)
    return [piece for chunk in chunks for piece in parser.feed(chunk)] + parser.finish()


def merged(pieces):
    """The pieces with those of one call, or of one stretch of text, put together; without ids."""
    out: list[list] = []
    for piece in pieces:
        if isinstance(piece, Text):
            assert piece.text
            if out and out[-1][0] == "text":
                out[-1][1] += piece.text
            else:
                out.append(["text", piece.text])
        elif isinstance(piece, InvalidCall):
            out.append(["invalid", piece.index, piece.name, piece.text, piece.error])
        elif piece.name is not None:
            assert piece.id
            out.append(["call", piece.index, piece.name, piece.args])
        else:
            assert piece.args
            assert piece.id is None
            assert out[-1][:2] == ["call", piece.index]
            out[-1][3] += piece.args
    indexes = [each[1] for each in out if each[0] != "text"]
    assert indexes == list(range(len(indexes)))
    return out


def parse(format_name: str, text: str, tools: Tools = TOOLS):
    whole = merged(pieces_of(format_name, text, tools=tools))
    assert merged(pieces_of(format_name, *text, tools=tools)) == whole
    return whole


def call(index: int, name: str, args: str):
    return ["call", index, name, args]


def as_langchain_sees_it(pieces) -> AIMessageChunk:
    message = AIMessageChunk(content="")
    for piece in pieces:
        if isinstance(piece, Text):
            message += AIMessageChunk(content=piece.text)
        elif isinstance(piece, CallDelta):
            chunk = tool_call_chunk(
                name=piece.name, args=piece.args, id=piece.id, index=piece.index
            )
            message += AIMessageChunk(content="", tool_call_chunks=[chunk])
    return message


# What each format writes


@pytest.mark.parametrize(
    ("format_name", "text"),
    [
        ("hermes", '<tool_call>\n{"name": "search", "arguments": {"a": "b"}}\n</tool_call>'),
        ("hermes", '<tool_call>{"name":"search","arguments":{"a": "b"}}</tool_call>'),
        ("hermes", '<tool_call>\n{"arguments": {"a": "b"}, "name": "search"}\n</tool_call>'),
        ("hermes", '<tool_call>[{"name": "search", "arguments": {"a": "b"}}]</tool_call>'),
        ("hermes", '<tool_call>\n{"name": "search", "parameters": {"a": "b"}}'),
        ("hermes", '<tool_call>\n{"name": "search", "arguments": {"a": "b"}\n</tool_call>'),
        ("hermes", '<tool_call>\n{"name": "search", "arguments": {"a": "b"}}}\n</tool_call>'),
        ("hermes", '{"name": "search", "arguments": {"a": "b"}}'),
        # The template of Qwen2.5-Coder shows a call so, and small models write what they see.
        ("hermes", '<tool_call>\n{{"name": "search", "arguments": {"a": "b"}}}\n</tool_call>'),
        ("hermes", '{{"name": "search", "arguments": {"a": "b"}}}'),
        ("hermes", '{{"name": "search", "arguments": {"a": "b"}}'),
        ("json", '```json\n{{"name": "search", "arguments": {"a": "b"}}}\n```'),
        ("json", '[{{"name": "search", "arguments": {"a": "b"}}}]'),
        ("llama3", '{"name": "search", "parameters": {"a": "b"}}'),
        ("llama3", '<|python_tag|>{"name": "search", "parameters": {"a": "b"}}'),
        ("llama3", '{"type": "function", "name": "search", "parameters": {"a": "b"}}'),
        ("llama3", '{"function": "search", "parameters": {"a": "b"}}'),
        ("llama3", '{"name": "search", "parameters": {"a": "b"}};'),
        ("mistral", '[TOOL_CALLS] [{"name": "search", "arguments": {"a": "b"}}]'),
        ("mistral", '[TOOL_CALLS][{"arguments":{"a": "b"}, "id": "abc", "name": "search"}]'),
        ("mistral", '[TOOL_CALLS] [{"name": "search", "arguments": {"a": "b"}, "id": "abc"}]'),
        ("mistral", '[TOOL_CALLS]search[ARGS]{"a": "b"}'),
        ("mistral", '[TOOL_CALLS]search{"a": "b"}'),
        ("mistral", '[TOOL_CALLS] search [CALL_ID]abcdefghi[ARGS] {"a": "b"}'),
        ("mistral", '[TOOL_CALLS]{"name": "search", "arguments": {"a": "b"}}'),
        ("mistral", '[{"name": "search", "arguments": {"a": "b"}}]'),
        ("json", '{"name": "search", "arguments": {"a": "b"}}'),
        ("json", ' \n[{"name": "search", "arguments": {"a": "b"}}]\n'),
        ("json", '```json\n{"name": "search", "arguments": {"a": "b"}}\n```'),
        ("json", '```\n{"name": "search", "arguments": {"a": "b"}}\n```\n'),
        ("json", '```tool_call\n[{"name": "search", "arguments": {"a": "b"}}]```'),
        ("json", '{"function": {"name": "search", "arguments": {"a": "b"}}, "type": "function"}'),
        ("json", r'{"name": "search", "arguments": "{\"a\": \"b\"}"}'),
        ("json", '{"name": "search", "arguments": {"a": "b"}, "reason": "it fits"}'),
    ],
)
def test_a_call(format_name, text):
    assert parse(format_name, text) == [call(0, "search", '{"a": "b"}')]


@pytest.mark.parametrize(
    ("format_name", "text"),
    [
        (
            "hermes",
            '<tool_call>\n{"name": "search", "arguments": {"a": "1"}}\n</tool_call>\n'
            '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>',
        ),
        (
            "hermes",
            '<tool_call>{"name": "search", "arguments": {"a": "1"}}\n'
            '{"name": "now", "arguments": {}}</tool_call>',
        ),
        (
            "hermes",
            '<tool_call>{"name": "search", "arguments": {"a": "1"}}\n'
            '<tool_call>{"name": "now", "arguments": {}}',
        ),
        (
            "llama3",
            '{"name": "search", "parameters": {"a": "1"}}; {"name": "now", "parameters": {}}',
        ),
        (
            "llama3",
            '<|python_tag|>{"name": "search", "parameters": {"a": "1"}}\n{"name": "now"}',
        ),
        (
            "mistral",
            '[TOOL_CALLS] [{"name": "search", "arguments": {"a": "1"}}, {"name": "now"}]',
        ),
        ("mistral", '[TOOL_CALLS]search[ARGS]{"a": "1"}[TOOL_CALLS]now[ARGS]{}'),
        (
            "json",
            '{"name": "search", "arguments": {"a": "1"}}\n{"name": "now", "arguments": {}}',
        ),
        (
            "json",
            '```json\n{"name": "search", "arguments": {"a": "1"}}\n{"name": "now"}\n```',
        ),
        (
            "json",
            '```json\n{"name": "search", "arguments": {"a": "1"}}\n```\n'
            '```json\n{"name": "now"}\n```',
        ),
        (
            "json",
            '[{"name": "search", "arguments": {"a": "1"}},\n {"name": "now", "arguments": null}]',
        ),
    ],
)
def test_several_calls(format_name, text):
    assert parse(format_name, text) == [call(0, "search", '{"a": "1"}'), call(1, "now", "{}")]


@pytest.mark.parametrize(
    ("format_name", "made"),
    [
        ("hermes", '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'),
        ("llama3", '{"name": "now", "parameters": {}}'),
        ("llama3", '<|python_tag|>{"name": "now", "parameters": {}}'),
        ("mistral", '[TOOL_CALLS] [{"name": "now", "arguments": {}}]'),
        ("mistral", "[TOOL_CALLS]now[ARGS]{}"),
        ("json", '{"name": "now", "arguments": {}}'),
        ("json", '```json\n{"name": "now", "arguments": {}}\n```'),
    ],
)
def test_text_around_calls_is_kept_on_lines_of_its_own(format_name, made):
    assert parse(format_name, f" One,\n two. \n\n{made}\n\n Three.\n{made} ") == [
        ["text", " One,\n two."],
        call(0, "now", "{}"),
        ["text", "\nThree."],
        call(1, "now", "{}"),
    ]


@pytest.mark.parametrize("format_name", EVERY)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello.\n",
        "\n  a  \n",
        '{"city": "Paris", "name": "search", "arguments": {}}',
        '{"name": "Bob", "age": 5}',
        '{"name": "Bob"}',
        '{"name": 5, "arguments": {}}',
        '{"type": "object", "name": "search"}',
        '{"id": 5, "price": 3}',
        '{"plan": [{"name": "search", "arguments": {}}]}',
        '{"name": "Bob", "parameters": 5}',
        '{"arguments": {"a": 1}}',
        '{"function": {"call": "f"}}',
        '[{"city": "Paris"}]',
        "[1, 2]",
        "{}",
        "{a: 1}",
        "{{name}}",
        '{{"name": "Bob"}}',
        "{{",
        '{"name": "sear',
        '{"name',
        "a [link](there) and a {brace",
        "```python\ncall = {'name': 1}\n```\n",
        '```python\n{"name": "search", "arguments": {}}\n```\n',
        '```json\n{"name": "Bob"}\n```\nDone.',
        '```json\n{"a": 1}\n{"name": "search", "arguments": {}}\n```\nDone.',
        "```json",
        "use `x` and ``",
        "a < b <tool",
        "[TOOL",
        "<|python",
        'The request looks like {"name": "x", "arguments": {}}, mostly.',
    ],
)
def test_all_else_is_text(format_name, text):
    assert parse(format_name, text) == ([["text", text]] if text else [])


def test_nothing_is_a_call_when_no_tool_is_offered():
    for tools in (Tools.of([]), Tools.of([{"name": "now"}], "none")):
        for format_name in EVERY:
            text = FORMATS[format_name].call_text([ToolCall(name="now", args={}, id="abcdefghi")])
            assert parse(format_name, text, tools=tools) == [["text", text]]


@pytest.mark.parametrize("format_name", ["llama3", "json"])
def test_a_name_of_no_tool_with_arguments_is_a_call_where_it_stands_alone(format_name):
    made = '{"name": "serch", "arguments": {"a": 1}}'
    assert parse(format_name, made) == [call(0, "serch", '{"a": 1}')]
    assert parse(format_name, f"So:\n{made}") == [["text", "So:"], call(0, "serch", '{"a": 1}')]
    assert parse(format_name, f"So: {made}") == [["text", f"So: {made}"]]
    known = made.replace("serch", "search")
    assert parse(format_name, f"So: {known}") == [["text", "So:"], call(0, "search", '{"a": 1}')]


def test_an_announced_call_may_name_what_is_no_tool():
    text = '<tool_call>{"name": "serch", "arguments": {}}</tool_call>'
    assert parse("hermes", text) == [call(0, "serch", "{}")]


@pytest.mark.parametrize(
    ("format_name", "text", "name", "raw", "error"),
    [
        ("hermes", "<tool_call>\nsearch(a)\n</tool_call>", None, "search(a)", "expected an object"),
        ("hermes", "<tool_call></tool_call>", None, "", "cut off"),
        ("hermes", "<tool_call>", None, "", "cut off"),
        ("hermes", '<tool_call>{"a": 1}</tool_call>', None, '{"a": 1}', "'a' is not expected"),
        ("hermes", "<tool_call>{}</tool_call>", None, "{}", "no name"),
        ("hermes", '<tool_call>{"name": "sea', None, '{"name": "sea', "cut off"),
        ("hermes", '<tool_call>{"name": "search"', "search", '{"name": "search"', "cut off"),
        (
            "hermes",
            '<tool_call>{"name": "search", "arguments":',
            "search",
            '{"name": "search", "arguments":',
            "cut off",
        ),
        (
            "hermes",
            '<tool_call>{"name": "search", "query": "x"}</tool_call>',
            "search",
            '{"name": "search", "query": "x"}',
            "'query' is not expected",
        ),
        (
            "hermes",
            '<tool_call>{"name": "search", "arguments": [1]}</tool_call>',
            "search",
            '{"name": "search", "arguments": [1]}',
            "no JSON object",
        ),
        (
            "hermes",
            '<tool_call>{"name": "search", "arguments": "x"}</tool_call>',
            "search",
            '{"name": "search", "arguments": "x"}',
            "no JSON object",
        ),
        (
            "hermes",
            "<tool_call>{'name': 'search'}</tool_call>",
            None,
            "{'name': 'search'}",
            "double quotes",
        ),
        ("mistral", "[TOOL_CALLS] I will.", None, "I will.", "expected an object"),
        ("mistral", '[TOOL_CALLS] [{"a": 1}]', None, '{"a": 1}', "'a' is not expected"),
        ("mistral", "[TOOL_CALLS]search", None, "search", "expected an object"),
        (
            "json",
            '{"name": "search", "query": "x"}',
            "search",
            '{"name": "search", "query": "x"}',
            "'query' is not expected",
        ),
    ],
)
def test_what_was_meant_for_a_call_and_is_none(format_name, text, name, raw, error):
    (found,) = parse(format_name, text)
    assert found[:4] == ["invalid", 0, name, raw]
    assert error in found[4]


def test_the_calls_after_an_unreadable_one_are_read():
    text = (
        "<tool_call>no</tool_call>\nSo\n<tool_call>{'a'\n<tool_call>\n"
        '{"name": "now", "arguments": {}}\n</tool_call>'
    )
    found = parse("hermes", text)
    assert [each[0] for each in found] == ["invalid", "text", "invalid", "call"]
    assert found[3] == call(2, "now", "{}")


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ('<tool_call>{"name": "search", "arguments": {"a": "b', '{"a": "b'),
        ('<tool_call>{"name": "search", "arguments": {"a": [1}}</tool_call>', '{"a": [1'),
        ('<tool_call>{"name": "search", "arguments": {', "{"),
        ('<tool_call>{"name": "search", "arguments": {"a": no}}</tool_call>', '{"a": no}'),
    ],
)
def test_arguments_that_have_gone_out_in_part_are_no_json_for_the_turn_to_see(text, args):
    assert parse("hermes", text) == [call(0, "search", args)]
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(args)


def test_what_follows_a_name_and_is_no_object_is_not_lost():
    assert parse("mistral", "[TOOL_CALLS]now[ARGS]{text") == [call(0, "now", "{text")]


def test_marks_in_strings_are_text():
    args = r'{"a": "</tool_call> }] \" <tool_call> [TOOL_CALLS] ``` \\"}'
    assert parse("hermes", f'<tool_call>{{"name": "search", "arguments": {args}}}</tool_call>') == [
        call(0, "search", args)
    ]
    assert parse("mistral", f"[TOOL_CALLS]search[ARGS]{args}[TOOL_CALLS]now{{}}") == [
        call(0, "search", args),
        call(1, "now", "{}"),
    ]


def test_arguments_go_out_as_they_are_written():
    parser = FORMATS["hermes"].parser(TOOLS)
    assert parser.feed("Well. <tool") == [Text("Well.")]
    assert parser.feed('_call>\n{"name": "search", "argu') == []
    (first,) = parser.feed('ments": {"a"')
    assert (first.index, first.name, first.args) == (0, "search", '{"a"')
    assert re.fullmatch(r"call_[0-9a-f]{24}", first.id)
    assert parser.feed(':  "b') == [CallDelta(0, args=':  "b')]
    assert parser.feed('"}}\n</tool_call') == [CallDelta(0, args='"}')]
    assert parser.feed(">\n\nDo") == [Text("\nDo")]
    assert parser.feed("ne. ") == [Text("ne.")]
    assert parser.finish() == [Text(" ")]


def test_text_is_held_back_only_while_it_may_become_a_call():
    parser = FORMATS["json"].parser(TOOLS)
    assert parser.feed("Look: {") == [Text("Look:")]
    assert parser.feed('"x') == []
    assert parser.feed('": 1, "name": "now') == [Text(' {"x": 1, "name": "now')]
    assert parser.feed('"}') == [Text('"}')]
    assert parser.feed("``") == []
    assert parser.feed("a") == [Text("``a")]


def test_mistral_has_ids_of_nine_characters():
    (found,) = pieces_of("mistral", "[TOOL_CALLS]now[ARGS]{}")
    assert re.fullmatch(r"[A-Za-z0-9]{9}", found.id)


def test_ids_differ():
    text = '<tool_call>{"name": "now"}</tool_call>' * 20
    assert len({piece.id for piece in pieces_of("hermes", text)}) == 20


# For any text, cut anywhere

MARKS = [
    *("<tool_call>", "</tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "[ARGS]"),
    *("[CALL_ID]1[ARGS]", "[CALL_ID]"),
    *("```", "```json\n", "```python\n", ";", ",", " ", "\n", "{", "}", "[", "]", '"', ":", "\\"),
    *("{{", "}}"),
    *("text", "é", "now", "天気", '"name": "now"', '"name": "x"', '"arguments": {', '"type": '),
    *('"name": "now", "arguments": {"a": "b"}', '{"name": "now", "arguments": {}}', "null"),
    *('"arguments": "{}"', '"arguments": {}, ', '"function": {', '{"name": "no"}', '{"a": [{}]}'),
]
words = st.lists(st.sampled_from(MARKS), max_size=14).map("".join)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(EVERY), words, st.lists(st.integers(0, 300), max_size=12))
def test_no_cut_changes_what_is_found(format_name, text, cuts):
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    chunks = [text[a:b] for a, b in itertools.pairwise(edges)]
    assert merged(pieces_of(format_name, *chunks)) == parse(format_name, text)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(EVERY), words)
def test_what_a_text_says_is_found_again(format_name, text):
    found = parse(format_name, text)
    # What a call itself is made of: its name, and what follows the arguments in its object.
    said = "".join(each[3] if each[0] in ("call", "invalid") else each[1] for each in found)
    named = "".join(str(each[2]) for each in found if each[0] != "text")
    for word in ("text", "é"):
        assert said.count(word) <= text.count(word) <= (said + named).count(word)


names = st.sampled_from(NAMES)
arguments = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)
calls = st.lists(st.tuples(names, arguments), min_size=1, max_size=3)
texts = st.text("ab .\n'<é", max_size=10).map(str.strip)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(EVERY), texts, calls, texts, st.integers(1, 9))
def test_what_a_format_writes_it_reads(format_name, before, made, after, size):
    how = FORMATS[format_name]
    made = [ToolCall(name=name, args=args, id=how.syntax.new_id()) for name, args in made]
    text = f"{before}\n{how.call_text(made)}\n{after}"
    pieces = pieces_of(format_name, *(text[i : i + size] for i in range(0, len(text), size)))
    message = as_langchain_sees_it(pieces)
    assert message.content == "\n".join(filter(None, (before, after)))
    assert not message.invalid_tool_calls
    assert [(c["name"], c["args"]) for c in message.tool_calls] == [
        (c["name"], c["args"]) for c in made
    ]
    assert merged(pieces) == parse(format_name, text)


def test_fifty_tools():
    tools = Tools.of([{"name": f"tool_{number}"} for number in range(50)], "any")
    for how in FORMATS.values():
        assert all(f'"tool_{number}"' in how.instructions(tools) for number in range(50))
        made = [ToolCall(name=name, args={"n": 1}, id="abcdefghi") for name in tools.names]
        found = parse(how.name, how.call_text(made), tools=tools)
        assert [(each[1], each[2]) for each in found] == list(enumerate(tools.names))
        assert len(json.dumps(how.constraint(tools).schema)) < 20_000


@pytest.mark.parametrize("format_name", EVERY)
def test_long_texts_are_read_in_linear_time(format_name):
    parser = FORMATS[format_name].parser(TOOLS)
    for text in ("{", "[", " ", "`", '{"name": ', "<tool_call>", "a"):
        for _ in range(3000):
            parser.feed(text)
    parser.finish()


# What a model is told, and held to


@pytest.mark.parametrize("format_name", EVERY)
def test_instructions(format_name):
    how = FORMATS[format_name]
    text = how.instructions(TOOLS)
    assert all(f'"{name}"' in text for name in NAMES)
    assert all(f'"{key}"' in text for key in how.keys)
    assert "must" not in text
    assert "one call only" not in text.lower()
    assert how.instructions(Tools.of([])) == ""
    assert how.instructions(Tools.of([{"name": "now"}], "none")) == ""


@pytest.mark.parametrize("format_name", EVERY)
def test_instructions_say_what_the_choice_demands(format_name):
    how = FORMATS[format_name]
    tools = [{"name": "now"}, {"name": "search"}]
    assert "must call a function" in how.instructions(Tools.of(tools, "any"))
    named = how.instructions(Tools.of(tools, "now"))
    assert 'must call the function "now"' in named
    assert "search" not in named
    single = how.instructions(Tools.of(tools, parallel_tool_calls=False))
    assert single.endswith("Make one call only.")
    assert "everal" not in single


def test_constraints():
    tools = Tools.of([{"name": "now"}, {"name": "search"}], "any")
    hermes, llama3, mistral, plain = (FORMATS[name].constraint(tools) for name in EVERY)
    assert (hermes.prefix, hermes.suffix) == ("<tool_call>\n", "\n</tool_call>")
    assert hermes.schema == plain.schema == tools.call_schema()
    assert (plain.prefix, plain.suffix) == (llama3.prefix, llama3.suffix) == ("", "")
    assert llama3.schema == tools.call_schema("name", "parameters")
    assert (mistral.prefix, mistral.suffix) == ("[TOOL_CALLS] ", "")
    assert mistral.schema["items"] == tools.call_schema()
    assert (mistral.schema["minItems"], mistral.schema["maxItems"]) == (1, 16)
    single = Tools.of([{"name": "now"}], "now", parallel_tool_calls=False)
    assert FORMATS["mistral"].constraint(single).schema["maxItems"] == 1
    for how in FORMATS.values():
        assert how.constraint(TOOLS) is None


@pytest.mark.parametrize("format_name", EVERY)
def test_what_is_made_under_a_constraint_is_read(format_name):
    tools = Tools.of([{"name": "now"}], "any")
    constraint = FORMATS[format_name].constraint(tools)
    made = dict(zip(FORMATS[format_name].keys, ("now", {}), strict=True))
    completion = json.dumps([made] if constraint.schema.get("type") == "array" else made)
    text = constraint.prefix + completion + constraint.suffix
    assert parse(format_name, text, tools=tools) == [call(0, "now", "{}")]


def test_the_definitions_of_a_mistral_constraint_are_at_its_root():
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}
    schema = {**node, "$defs": {"n": node}}
    tools = Tools.of([{"name": "f", "parameters": schema}], "f")
    found = FORMATS["mistral"].constraint(tools).schema
    assert list(found["$defs"]) == ["t0_n"]
    assert "$defs" not in found["items"]


# What is told of earlier calls


@pytest.mark.parametrize(
    ("format_name", "text"),
    [
        ("hermes", '<tool_response>\n{"name": "now", "content": "föör"}\n</tool_response>'),
        ("llama3", '{"name": "now", "output": "föör"}'),
        ("mistral", '[TOOL_RESULTS] {"content": "föör", "call_id": "abc"}[/TOOL_RESULTS]'),
        ("json", "Result of now:\nföör"),
    ],
)
def test_results(format_name, text):
    how = FORMATS[format_name]
    message = ToolMessage("föör", name="now", tool_call_id="abc")
    assert how.result_text(message) == text
    message.status = "error"
    assert how.result_text(message) == text.replace("föör", "Error: föör")
    already = ToolMessage("Error: no", tool_call_id="abc", status="error")
    assert how.result_text(already).count("Error") == 1


def test_calls_are_written_as_they_were_learnt():
    made = [
        ToolCall(name="now", args={"a": "é"}, id="abcdefghi"),
        ToolCall(name="search", args={}, id="123456789"),
    ]
    written = {name: how.call_text(made) for name, how in FORMATS.items()}
    assert written == {
        "hermes": '<tool_call>\n{"name": "now", "arguments": {"a": "é"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "search", "arguments": {}}\n</tool_call>',
        "llama3": '{"name": "now", "parameters": {"a": "é"}}; {"name": "search", "parameters": {}}',
        "mistral": '[TOOL_CALLS] [{"name": "now", "arguments": {"a": "é"}, "id": "abcdefghi"}, '
        '{"name": "search", "arguments": {}, "id": "123456789"}]',
        "json": '{"name": "now", "arguments": {"a": "é"}}\n{"name": "search", "arguments": {}}',
    }


# Which format is a model's


@pytest.mark.parametrize(
    ("source", "format_name"),
    [
        (None, "json"),
        ("{{ messages[0].content }}", "json"),
        ("<|im_start|>{{ role }}", "hermes"),
        ("<|im_start|> … <tool_call>", "hermes"),
        ("[INST] … [TOOL_CALLS]", "mistral"),
        ("<|start_header_id|> … <|python_tag|>", "llama3"),
        ('<|start_header_id|> … {"name": …, "parameters": …}', "llama3"),
        ("<|start_header_id|>{{ role }}", "json"),
    ],
)
def test_the_format_of_a_template(source, format_name):
    assert format_of(source) is FORMATS[format_name]
    assert FORMATS[format_name].name == format_name
