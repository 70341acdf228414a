"""`ChatTemplate`: what it renders, what it refuses, and that no template gets out or runs on."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import time
from datetime import datetime
from typing import Any

import pytest

from langchain_wrap.chat.template import ChatTemplate

USER = {"role": "user", "content": "Hi"}
SYSTEM = {"role": "system", "content": "Be brief."}
ANSWER = {"role": "assistant", "content": "Hello"}
EVERYTHING = "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"


def call(name: str = "add", id_: str = "call_1", **arguments: Any) -> dict[str, Any]:
    return {"type": "function", "id": id_, "function": {"name": name, "arguments": arguments}}


def calling(*calls: dict[str, Any], content: str = "") -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def answer(content: str, id_: str = "call_1") -> dict[str, Any]:
    return {"role": "tool", "name": "add", "tool_call_id": id_, "content": content}


TOOL = {
    "type": "function",
    "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}},
}


def render(source: str, *messages: dict[str, Any], **variables: Any) -> str:
    return ChatTemplate(source).render(messages or [USER], **variables)


# What templates can count on

LOOP = "{% for i in range(4) %}"


def test_variables() -> None:
    source = (
        "{{ bos_token }}{{ messages[0].content }}{{ messages[0]['content'] }} {{ documents }} "
        "{{ tools }} {{ add_generation_prompt }} {{ enable_thinking }}{{ eos_token }}"
    )
    template = ChatTemplate(source, special_tokens={"bos_token": "<s>"})
    assert template.render([USER], enable_thinking=False) == "<s>HiHi None None True False"
    assert template.render([USER], add_generation_prompt=False, eos_token="!") == (
        "<s>HiHi None None False !"
    )
    assert template.render([USER], bos_token="<other>").startswith("<other>Hi")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% if true %}\n  {% set x = 1 %}\nHi\n{% endif %}\n", "Hi\n"),  # trim, lstrip
        ("Hi\n", "Hi"),
        ("Hi" + LOOP + "{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "Hi01"),
        ("Hi" + LOOP + "{% if i == 2 %}{% continue %}{% endif %}{{ i }}{% endfor %}", "Hi013"),
        ("{% generation %}Hi{% endgeneration %}", "Hi"),
        ("{% set x = 1 %}{% generation %}{% set x = 2 %}{% endgeneration %}Hi{{ x }}", "Hi1"),
        ("Hi{{ {'ä': '<\"'} | tojson }}", 'Hi{"ä": "<\\""}'),
        ("Hi{{ {'ä': 1} | tojson(ensure_ascii=true) }}", 'Hi{"\\u00e4": 1}'),
        ("Hi{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}", 'Hi{"a": 2, "b": 1}'),
        ("Hi{{ {'b': 1, 'a': [2]} | tojson(separators=(',', ':')) }}", 'Hi{"b":1,"a":[2]}'),
        ("Hi{{ {'b': 1} | tojson(indent=2) }}", 'Hi{\n  "b": 1\n}'),
        ("Hi{{ nothing }}{{ nothing is defined }}", "HiFalse"),
        ("Hi{% set ns = namespace(a=1) %}{% set ns.a = ns.a + 1 %}{{ ns.a }}", "Hi2"),
        ("Hi{{ dict(a=1) | tojson }}{{ dict.fromkeys(['b']) | tojson }}", 'Hi{"a": 1}{"b": null}'),
        ("Hi{{ 'a,b'.split(',')[-1] }}{{ messages[0].items() | list | length }}", "Hib2"),
        ("Hi{% macro m(x='y') %}{{ x }}{{ caller is defined }}{% endmacro %}{{ m() }}", "HiyFalse"),
        ("Hi{{ 3 * 4 }}{{ 2 ** 10 }}{{ '=' * 3 }}{{ [1] * 2 }}", "Hi121024===[1, 1]"),
        ("{{ strftime_now('%Y') }} Hi", f"{datetime.now():%Y} Hi"),
    ],
)  # fmt: skip
def test_what_templates_can_do(source: str, text: str) -> None:
    # "Hi" stands for the message: a template that leaves it out is refused.
    assert render(source.replace("Hi", "{{ messages[0].content }}", 1)) == text


def test_keys_without_a_value_are_left_out() -> None:
    source = "{{ messages[0].content }}{{ 'name' in messages[0] }}{{ 'tool_calls' in messages[0] }}"
    assert render(source, {**USER, "name": None, "tool_calls": None}) == "HiFalseFalse"


def test_reasoning_has_the_names_that_templates_know() -> None:
    source = "{% for m in messages %}{{ m.content + m.thinking + m.reasoning_content }}{% endfor %}"
    assert render(source, {**ANSWER, "reasoning": "r"}) == "Hellorr"
    assert render(source, {**ANSWER, "reasoning_content": "r"}) == "Hellorr"


def test_messages_are_not_changed_and_hold_plain_types() -> None:
    class Name(str):
        def leak(self) -> str:
            return "leaked"

    message = {"role": "user", "content": Name("Hi")}
    before = copy.deepcopy(message)
    source = "{{ messages[0].content }}{{ messages[0].content.leak is defined }}"
    assert render(source, message) == "HiFalse"
    assert render("{{ messages[0].content }} {{ day }}", message, day=datetime(2026, 1, 2)) == (
        "Hi 2026-01-02 00:00:00"
    )
    assert message == before


# Tools and ends of turns


@pytest.mark.parametrize(
    ("source", "takes"),
    [
        (EVERYTHING, False),
        ("{% if tools %}{{ tools | tojson }}{% endif %}" + EVERYTHING, True),
        ("{% if not tools is defined %}{% set tools = none %}{% endif %}" + EVERYTHING, True),
        ("{# tools #}{{ 'tools' }}{{ messages[0].tools }}" + EVERYTHING, False),
        ("{% set tools = [] %}{{ tools }}" + EVERYTHING, False),
    ],
)
def test_takes_tools(source: str, takes: bool) -> None:
    assert ChatTemplate(source).takes_tools is takes


def test_tools_are_not_lost() -> None:
    with pytest.raises(ValueError, match="no place for tools"):
        ChatTemplate(EVERYTHING).render([USER], tools=[TOOL])
    late = "{% if messages | length > 3 %}{{ tools }}{% endif %}" + EVERYTHING
    with pytest.raises(ValueError, match="does not express the tool 'add'"):
        ChatTemplate(late).render([USER], tools=[TOOL])
    source = "{{ tools | tojson }}" + EVERYTHING
    assert ChatTemplate(source).render([USER], tools=[TOOL]) == json.dumps([TOOL]) + "user:Hi;"
    assert ChatTemplate(source).render([USER], tools=[]) == "nulluser:Hi;"


END = "{% if not add_generation_prompt %}{{ eos_token }}{% endif %}"


@pytest.mark.parametrize(
    ("turn", "after", "stops"),
    [
        ("<|{{ m.role }}|>{{ m.content }}<|end|>\n", END, ("<|end|>",)),
        ("{{ m.content }}<|END_RESPONSE|><|END_OF_TURN|>", "", ("<|END_RESPONSE|>",)),
        ("{{ m.content }}{{ eos_token if m.role == 'assistant' }}", "", ("<eos>",)),
        ("\n<|{{ m.role }}|>\n{{ m.content }}", "", ("<|user|>",)),
        ("### {{ m.role }}:\n{{ m.content }}\n\n", "", ("\n### user:",)),
        ("{{ m.role }}> {{ m.content }} ENDED\n", "", ("ENDED",)),
        ("{{ m.content }}", "", ()),
        ("{{ raise_exception('no') }}", "", ()),
    ],
)
def test_stops_are_what_the_template_writes_after_an_answer(
    turn: str, after: str, stops: tuple[str, ...]
) -> None:
    source = "{% for m in messages %}" + turn + "{% endfor %}" + after
    assert ChatTemplate(source, special_tokens={"eos_token": "<eos>"}).stops == stops
    assert ChatTemplate(source, stops=["STOP"]).stops == ("STOP",)


# Templates as values


def test_of() -> None:
    template = ChatTemplate(EVERYTHING)
    assert ChatTemplate.of(template) is template
    assert ChatTemplate.of(EVERYTHING) == template
    assert ChatTemplate.of("chatml") == ChatTemplate.named("chatml")
    with pytest.raises(ValueError, match=r"no template family 'chatlm'. Did you mean 'chatml'\?"):
        ChatTemplate.of("chatlm")
    with pytest.raises(TypeError, match="not 3"):
        ChatTemplate.of(3)  # type: ignore[arg-type]
    for empty in ("", "  "):
        with pytest.raises(ValueError, match=r"family|Jinja text"):
            ChatTemplate.of(empty)
        with pytest.raises(ValueError, match="Jinja text"):
            ChatTemplate(empty)


def test_equal_hashable_picklable() -> None:
    one, other = (ChatTemplate(EVERYTHING, special_tokens={"bos_token": b}) for b in "ab")
    assert one == ChatTemplate(EVERYTHING, special_tokens={"bos_token": "a"}) != other
    assert len({one, other, copy.deepcopy(one)}) == 2
    assert one.takes_tools is False
    assert pickle.loads(pickle.dumps(one)).render([USER]) == one.render([USER])
    assert repr(one).startswith(f"<ChatTemplate of {len(EVERYTHING)} characters, sha256 ")
    assert repr(ChatTemplate.named("plain")) == "ChatTemplate.named('plain')"


def test_jinja_is_imported_for_rendering_only() -> None:
    code = (
        "import sys; from langchain_wrap.chat.template import ChatTemplate;"
        "ChatTemplate.of('chatml'); assert 'jinja2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Errors


def test_refusal_has_the_words_of_the_template() -> None:
    with pytest.raises(ValueError, match="refuses these messages: roles must alternate") as caught:
        render("{{ raise_exception('roles must alternate') }}")
    assert "another template" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("a\n{% if %}", "line 2: Expected an expression"),
        ("{{ messages | nonsense }}", "line 1: No filter named 'nonsense'"),
        ("\n\n{% for m in messages %}", "line 3: Unexpected end of template"),
        ("{% include 'other' %}{{ 1", "line 1: unexpected end of template"),
        ("{{ " + "(" * 3000 + ")" * 3000 + " }}", "."),
    ],
)
def test_what_is_no_jinja(source: str, reason: str) -> None:
    template = ChatTemplate(source)
    for use in (lambda: template.render([USER]), lambda: template.takes_tools):
        with pytest.raises(ValueError, match=f"(?s)^the chat template (is|cannot).*{reason}"):
            use()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("a\n{{ messages[0].content + 1 }}", "line 2: TypeError"),
        ("a\nb\n{{ messages[0].nothing.more }}", "line 3: UndefinedError"),
        ("{{ 1 / 0 }}", "line 1: ZeroDivisionError"),
        ("{% include 'other' %}", "fails"),
        ("{{ messages[0].content.missing() }}", "line 1: UndefinedError"),
    ],
)
def test_failures_name_the_line(source: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        render(source)


def test_no_messages() -> None:
    with pytest.raises(ValueError, match="no messages"):
        ChatTemplate(EVERYTHING).render([])


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ (''|attr('__class__')).__mro__ }}",
        "{{ ''['__class__']['__mro__'] }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'a': 1}) }}",
        "{{ messages[0].clear() }}",
        "{{ messages.__class__.append(messages, 1) }}",
        "{{ dict.update(messages[0], {'content': 'x'}) }}",
        "{{ dict.mro() }}",
        "{{ dict.fromkeys.__func__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ joiner.__init__.__globals__ }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}",
        "{{ raise_exception.__globals__.sys }}",
        "{{ strftime_now.__globals__.sys }}",
        "{{ range.__closure__[0].cell_contents }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ namespace(__class__=1) }}",
        "{{ namespace({'_a': 1}) }}",
        "{% set ns = namespace() %}{% set ns.__html__ = 1 %}",
        "{{ self.__init__.__globals__ }}",
        "{{ self._TemplateReference__context.environment }}",
        "{{ '{0.__class__.__mro__}'.format(1) }}",
        "{{ '{a.__class__.__mro__}'.format_map({'a': 1}) }}",
        "{{ ('{0.__class__.__mro__}'|attr('format'))(1) }}",
        "{{ (messages|map(attribute='__class__')|list)[0].__mro__ }}",
        "{{ ({'a': ''}|map('attr', '__class__')|list)[0].__mro__ }}",
        "{{ namespace.mro() }}",
    ],
)
def test_no_way_out_of_the_sandbox(attack: str) -> None:
    message = dict(USER)
    with pytest.raises(ValueError, match=r"sandbox|fails"):
        render(attack + EVERYTHING, message)
    assert message == USER


def test_an_escape_is_named() -> None:
    with pytest.raises(ValueError, match=r"tries to leave its sandbox and was stopped.*another"):
        render("{{ ''.__class__.__mro__ }}")


@pytest.mark.parametrize(
    "runaway",
    [
        "{% for i in range(10**9) %}a{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}aaaa{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(9999) %}{{ lipsum(n=9) }}{% endfor %}",
        "{{ 'a' * 10**9 }}",
        "{{ 10**9 * 'a' }}",
        "{{ [0] * 10**9 }}",
        "{{ 10**(10**10) }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% set ns = namespace(a='a') %}{% for i in range(99) %}{% set ns.a = ns.a + ns.a %}"
        "{{ ns.a }}{% endfor %}",
    ],
)
def test_runaways_are_stopped(runaway: str) -> None:
    begin = time.process_time()
    with pytest.raises(ValueError, match="does not come to an end"):
        render(runaway + EVERYTHING)
    assert time.process_time() - begin < 20


def test_a_long_conversation_is_no_runaway() -> None:
    messages = [{"role": "user", "content": "word " * 20_000}] * 30
    assert len(ChatTemplate(EVERYTHING).render(messages)) > 3_000_000


# Nothing is lost without a word


@pytest.mark.parametrize(
    ("turn", "who"),
    [
        ("{% if m.role == 'user' %}{{ m.content }}{% endif %}", r"message 1 of 3 \(system\)"),
        (
            "{% if m.role != 'assistant' %}{{ m.content }}{% endif %}",
            r"message 3 of 3 \(assistant\)",
        ),
        ("{% if loop.index != 2 %}{{ m.content }}{% endif %}", r"message 2 of 3 \(user\)"),
    ],
)
def test_a_message_that_is_left_out(turn: str, who: str) -> None:
    source = "{% for m in messages %}" + turn + "{% endfor %} Be brief. Hi Hello"
    with pytest.raises(ValueError, match=f"does not express {who}: what it says would be lost"):
        render(source, SYSTEM, USER, ANSWER)


@pytest.mark.parametrize(
    "form",
    [
        "{{ m.content | trim | upper }}",
        "{{ m.content | tojson }}",
        "{{ m.content.split('</think>')[-1] }}",
        "{{ m.content[:20] }}",
        "{{ m.content | replace('H', 'h') }}",
    ],
)
def test_what_a_template_may_do_with_a_text(form: str) -> None:
    source = "{% for m in messages %}" + form + "{% endfor %}"
    thought = {"role": "assistant", "content": "<think>no</think>"}
    render(
        source, {"role": "user", "content": 'Say "ä"\n'}, thought, USER, {**USER, "content": " "}
    )


def test_a_template_may_move_messages() -> None:
    source = (
        "{% for m in messages if m.role != 'system' %}{{ m.content }} {% endfor %}"
        "{% for m in messages if m.role == 'system' %}{{ m.content }}{% endfor %}"
    )
    assert render(source, SYSTEM, USER) == "Hi Be brief."


def test_a_template_that_looks_at_the_texts_themselves() -> None:
    picky = (
        "{% for m in messages %}{{ m.content if 'Hi' in m.content else raise_exception('no') }}"
        "{% endfor %}"
    )
    assert render(picky, {**USER, "content": " Hi\n"}) == " Hi\n"
    empty = "{% if messages[0].content != 'Hi' %}{{ raise_exception('no') }}{% endif %}"
    with pytest.raises(ValueError, match=r"message 1 of 1 \(user\)"):
        render(empty)


def test_calls_that_are_left_out() -> None:
    messages = [USER, calling(call(a=1)), answer("4")]
    with pytest.raises(ValueError, match=r"message 2 of 3 \(assistant\): its call of 'add' would"):
        render(EVERYTHING + "add 1 call_1", *messages)
    names = (
        "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or () %}"
        "{{ c.function.name }}{% endfor %}{% endfor %} 1"
    )
    with pytest.raises(ValueError, match="the arguments of its call of 'add' would be lost"):
        render(names, *messages)
    assert render(names, USER, calling(call()), answer("4")) == "Hiadd4 1"


# Templates that know messages in one form only

CALLS = (
    "{% for c in m.tool_calls %}[{{ c.function.name }}{{ c.function.arguments | tojson }}]"
    "{% endfor %}"
)


def forms(first: str, otherwise: str) -> str:
    return "{% for m in messages %}" + first + "{% else %}" + otherwise + "{% endif %}|{% endfor %}"


def test_arguments_as_text() -> None:
    source = forms(
        "{% if m.tool_calls %}{% for c in m.tool_calls %}"
        "{{ c.function.name + c.function.arguments }}{% endfor %}",
        "{{ m.content }}",
    )
    assert render(source, USER, calling(call(b="ä")), answer("4")) == 'Hi|add{"b": "ä"}|4|'


def test_calls_only_where_there_is_no_content() -> None:
    source = forms("{% if m.content is none %}" + CALLS, "{{ m.content }}")
    assert render(source, USER, calling(call(a=1)), answer("4")) == 'Hi|[add{"a": 1}]|4|'
    said = calling(call(a=1), content="Well")
    assert render(source, USER, said, answer("4")) == 'Hi|Well|[add{"a": 1}]|4|'


def test_either_words_or_calls() -> None:
    source = forms("{% if m.tool_calls %}" + CALLS, "{{ m.content }}")
    said = calling(call(a=1), content="Well")
    assert render(source, USER, said, answer("4")) == 'Hi|Well|[add{"a": 1}]|4|'


def test_one_call_a_message() -> None:
    one = (
        "{% if m.tool_calls and m.tool_calls | length > 1 %}{{ raise_exception('one call') }}"
        "{% elif m.tool_calls %}"
    )
    source = forms(one + CALLS, "{{ m.content }}")
    messages = [USER, calling(call(a=1), call("sub", "call_2", b=2)), answer("3", "call_2")]
    assert render(source, *messages, answer("4"), ANSWER) == (
        'Hi|[add{"a": 1}]|4|[sub{"b": 2}]|3|Hello|'
    )


def test_the_first_of_several_calls_keeps_the_words_and_thoughts() -> None:
    first = "{% if m.tool_calls %}{{ m.thinking }}{{ m.content }}"
    source = forms(first + CALLS.replace("m.tool_calls", "m.tool_calls[:1]"), "{{ m.content }}")
    said = calling(call(a=1), call("sub", "call_2", b=2), content="Well")
    messages = [USER, {**said, "reasoning_content": "Hm."}, answer("4"), answer("3", "call_2")]
    assert render(source, *messages, answer("?", "call_3")) == (
        'Hi|Hm.Well[add{"a": 1}]|4|[sub{"b": 2}]|3|?|'
    )


def test_texts_as_blocks() -> None:
    source = "{% for m in messages %}{% for b in m.content %}{{ b.text }}{% endfor %}{% endfor %}"
    assert render(source, SYSTEM, USER) == "Be brief.Hi"


def test_the_first_complaint_is_told() -> None:
    with pytest.raises(ValueError, match="refuses these messages: never"):
        render("{{ raise_exception('never') }}", USER, calling(call(a=1)), answer("4"))


def test_mistral_gets_short_ids() -> None:
    source = (
        "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or () %}[TOOL_CALLS]"
        "{{ c.function.name }}{{ c.id }}{% endfor %}{{ m.tool_call_id }}|{% endfor %}"
    )
    prompt = render(
        source, USER, calling(call(id_="call_abcdefghijkl")), answer("4", "call_abcdefghijkl")
    )
    asked, told = prompt.split("|")[1].removeprefix("[TOOL_CALLS]add"), prompt.split("|")[2][1:]
    assert asked == told
    assert len(asked) == 9
    assert asked.isalnum()
    assert "abc123DEF" in render(source, USER, calling(call(id_="abc123DEF")))
