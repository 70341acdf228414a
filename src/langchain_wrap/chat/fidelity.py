"""Fidelity: a template gets the messages in a form in which it leaves none of them out.

A template is free to trim, escape and move a text, and to cut thoughts out of it; but what a
message says and which calls it makes has to be there. To tell one from the other the messages are
rendered a second time, with a mark in the place of each text, call and argument: a mark that does
not come out stands for something that the template does not express. Before that is an error, other
forms of the same messages are tried, as templates differ in which of them they know.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from langchain_wrap.chat.sandbox import TemplateStopped

Message = dict[str, Any]
Form = list[tuple[int, Message]]
"""Messages, each with the number of the one that it stands for."""


class Mark(NamedTuple):
    """What stands in the place of a text."""

    text: str
    number: int
    role: str
    what: str


def express(render: Callable[[list[Message]], str], messages: list[Message]) -> str:
    """Return what `render` makes of messages, in the first form in which nothing gets lost.

    Raises:
        ValueError: There is none: with what `render` said of the messages as they are, or with the
            number and role of the message that is lost.
    """
    failure: ValueError | None = None
    for form in _forms(messages):
        try:
            prompt = render([message for _, message in form])
        except TemplateStopped:
            raise
        except ValueError as error:
            failure = failure or error
            continue
        lost = _lost(render, form, prompt)
        if lost is None:
            return prompt
        failure = failure or _complaint(lost, len(messages))
    raise failure or ValueError("there are no messages")


def _complaint(lost: Mark, count: int) -> ValueError:
    hint = (
        "use a template that does, or leave the message out"
        if lost.what == "what it says"
        else "use a template that has a form for calls of tools"
    )
    return ValueError(
        f"the chat template does not express message {lost.number} of {count} ({lost.role}): "
        f"{lost.what} would be lost; {hint}"
    )


def _forms(messages: list[Message]) -> Iterator[Form]:
    """Yield forms of the same messages; those that differ in how calls are given come later."""
    whole = list(enumerate(messages, 1))
    yield whole
    if any(message.get("tool_calls") for message in messages):
        words = _words_then_calls(whole)
        for form in (whole, words, _call_by_call(whole), _call_by_call(words)):
            for variant in (form, _without_empty_content(form)):
                if variant is not whole:
                    yield variant
                yield _with_json_arguments(variant)
    yield _with_blocks(whole)


def _with_blocks(form: Form) -> Form:
    """Templates of models that also take images may want a text as a list of blocks."""
    return [
        (number, {**message, "content": [{"type": "text", "text": message["content"]}]})
        if isinstance(message.get("content"), str)
        else (number, message)
        for number, message in form
    ]


def _with_json_arguments(form: Form) -> Form:
    """Some templates want the arguments of a call as the JSON text that they write."""

    def changed(message: Message) -> Message:
        calls = [
            {**call, "function": {**call["function"], "arguments": _json(_arguments(call))}}
            for call in message.get("tool_calls") or ()
        ]
        return {**message, "tool_calls": calls} if calls else message

    return [(number, changed(message)) for number, message in form]


def _without_empty_content(form: Form) -> Form:
    """Some templates know a message that just calls tools by its having no content at all."""
    return [
        (number, {**message, "content": None})
        if message.get("tool_calls") and not message.get("content")
        else (number, message)
        for number, message in form
    ]


def _words_then_calls(form: Form) -> Form:
    """Some templates write either what a message says or its calls: make it two messages."""
    changed: Form = []
    for number, message in form:
        if message.get("tool_calls") and message.get("content"):
            words = {key: value for key, value in message.items() if key != "tool_calls"}
            changed += [(number, words), (number, {**message, "content": ""})]
            _forget_thoughts(changed[-1][1])
        else:
            changed.append((number, message))
    return changed


def _call_by_call(form: Form) -> Form:
    """Some templates take one call a message: give each with its answer before the next."""
    changed: Form = []
    waiting = list(form)
    while waiting:
        number, message = waiting.pop(0)
        calls = message.get("tool_calls") or ()
        if len(calls) < 2:
            changed.append((number, message))
            continue
        answers: Form = []
        while waiting and waiting[0][1].get("role") == "tool":
            answers.append(waiting.pop(0))
        for index, call in enumerate(calls):
            more = {"content": ""} if index else {}  # the first has what the message says
            changed.append((number, {**message, "tool_calls": [call], **more}))
            if index:
                _forget_thoughts(changed[-1][1])
            changed += [pair for pair in answers if pair[1].get("tool_call_id") == call.get("id")]
        ids = [call.get("id") for call in calls]
        changed += [pair for pair in answers if pair[1].get("tool_call_id") not in ids]
    return changed


def _forget_thoughts(message: Message) -> None:
    """Take thoughts out of what continues a message: they stand in its first part."""
    for key in ("reasoning_content", "thinking", "reasoning"):
        message.pop(key, None)


def _lost(render: Callable[[list[Message]], str], form: Form, prompt: str) -> Mark | None:
    """Return the first mark that does not come out of the template."""
    marked, marks = _mark(form)
    try:
        found = render(marked).casefold()
    except ValueError:
        # It looks at the texts themselves and cannot do with marks: look for the texts then.
        return _missing(form, prompt)
    return next((mark for mark in marks if mark.text not in found), None)


def _mark(form: Form) -> tuple[list[Message], list[Mark]]:
    messages: list[Message] = []
    marks: list[Mark] = []

    def mark(number: int, message: Message, what: str) -> str:
        # Letters and digits only, so that no template escapes or cuts them.
        marks.append(Mark(f"qz{len(marks)}zq", number, str(message.get("role")), what))
        return marks[-1].text

    for number, message in form:
        copy = dict(message)
        if _text(message).strip():
            text = mark(number, message, "what it says")
            is_text = isinstance(message["content"], str)
            copy["content"] = text if is_text else [{"type": "text", "text": text}]
        if message.get("tool_calls"):
            copy["tool_calls"] = []
            for call in message["tool_calls"]:
                what = f"its call of {call['function'].get('name')!r}"
                function = {**call["function"], "name": mark(number, message, what)}
                if arguments := _arguments(call):
                    value = mark(number, message, f"the arguments of {what}")
                    arguments = {next(iter(arguments)): value}
                is_text = isinstance(call["function"].get("arguments"), str)
                function["arguments"] = _json(arguments) if is_text else arguments
                copy["tool_calls"].append({**call, "function": function})
        messages.append(copy)
    return messages, marks


def _missing(form: Form, prompt: str) -> Mark | None:
    for number, message in form:
        text = _text(message).strip()
        if text not in prompt and _json(text)[1:-1] not in prompt and "</think>" not in text:
            return Mark("", number, str(message.get("role")), "what it says")
        for call in message.get("tool_calls") or ():
            if str(call["function"].get("name")) not in prompt:
                what = f"its call of {call['function'].get('name')!r}"
                return Mark("", number, str(message.get("role")), what)
    return None


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(block.get("text", "")) for block in content if isinstance(block, dict))
    return content if isinstance(content, str) else ""


def _arguments(call: Message) -> Any:
    """Return the arguments of a call as an object, in whichever way it has them."""
    arguments = call["function"].get("arguments") or {}
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except ValueError:
        return {"arguments": arguments}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
