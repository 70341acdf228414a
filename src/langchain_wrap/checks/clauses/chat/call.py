"""CHAT-CALL: messages in, a message out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.prompt_values import ChatPromptValue

from langchain_wrap.chat.adapter import LLMChat
from langchain_wrap.checks.chat.paths import raw, text_of
from langchain_wrap.checks.chat.snippets import MESSAGES, messages_code
from langchain_wrap.checks.chat.subject import ChatSubject
from langchain_wrap.checks.clause import Area, Skipped
from langchain_wrap.checks.probes.fields import variant
from langchain_wrap.checks.probes.paths import Expression
from langchain_wrap.checks.shared import describe_error, first_then, shown

area = Area("CHAT-CALL", "Messages in, a message out")

_LONG = " ".join(f"fig{number}" for number in range(24))
"""Words that no short message has, many enough to be seen in a count of tokens."""


@area.clause(
    1,
    "`invoke` returns an AIMessage with text or tool calls.",
    level="contract",
    why="Everything that reads a chat model's answer reads `.text`, `.content` and `.tool_calls`.",
    source="langchain_core BaseChatModel.invoke: returns AIMessage",
    fix="Return `ChatResult(generations=[ChatGeneration(message=AIMessage(content=text))])` from "
    "`_generate`.",
)
def answers(model: ChatSubject) -> None:
    found = model.ask("invoke", model.prompt).message
    model.expect(
        isinstance(found, AIMessage),
        f"invoke returned {shown(found)}, a {type(found).__name__}",
        f"got = {raw('invoke', [model.prompt])}",
        "from langchain_core.messages import AIMessage",
        "assert isinstance(got, AIMessage), type(got)",
    )
    model.expect(
        isinstance(found.content, str | list),
        f"the content of the answer is {shown(found.content)}",
        f"got = {raw('invoke', [model.prompt])}",
        "assert isinstance(got.content, (str, list)), type(got.content)",
    )


@area.clause(
    2,
    "`ainvoke` answers as `invoke` does.",
    level="contract",
    why="The same program answers otherwise on a server than in a script.",
    source="langchain_core Runnable.ainvoke: «Default implementation of `ainvoke`, calls `invoke`»",
    fix="Let `_agenerate` build its messages as `_generate` does, from one function.",
)
def alike(model: ChatSubject) -> str | None:
    got = model.ask("ainvoke").message
    model.expect(
        isinstance(got, AIMessage),
        f"ainvoke returned {shown(got)}, a {type(got).__name__}",
        f"got = {raw('ainvoke', [model.prompt])}",
        "from langchain_core.messages import AIMessage",
        "assert isinstance(got, AIMessage), type(got)",
    )
    if not model.deterministic:
        return "the model's answers vary: only the type was compared"
    model.expect_same(
        first_then(model.text(), lambda: model.ask("invoke", again=True).text),
        first_then(text_of(got), lambda: model.ask("ainvoke", again=True).text),
        "ainvoke answers otherwise than invoke",
        f"got = {model.code('ainvoke', [model.prompt])}",
        f"want = {model.code('invoke', [model.prompt])}",
        "assert got == want, (got, want)",
    )
    return None


@area.clause(
    3,
    "A text, a message, a tuple and a prompt value of the same words are the same input.",
    level="contract",
    why="Chains hand over prompt values, people write texts; they get different answers.",
    source="langchain_core LanguageModelInput: `PromptValue | str | Sequence[MessageLike]`",
    fix="Leave `_convert_input` to langchain-core, and read `message.text`, not the input.",
)
def inputs(model: ChatSubject) -> str | None:
    given: dict[str, Any] = {
        f"[HumanMessage({model.prompt!r})]": [HumanMessage(model.prompt)],
        f"[('human', {model.prompt!r})]": [("human", model.prompt)],
        f"ChatPromptValue(messages=[HumanMessage({model.prompt!r})])": ChatPromptValue(
            messages=[HumanMessage(model.prompt)]
        ),
    }
    if not model.deterministic:
        model.ask("invoke", [HumanMessage(model.prompt)], again=True)
        return "the model's answers vary: only that a list of messages is answered was checked"
    for code, one in given.items():
        got = model.ask("invoke", one, again=True).text
        model.expect_same(
            first_then(model.text(), lambda: model.ask("invoke", again=True).text),
            first_then(got, partial(_text_of, model, one)),
            f"invoke({code}) answers otherwise than invoke({model.prompt!r})",
            MESSAGES,
            "from langchain_core.prompt_values import ChatPromptValue",
            f"got = {model.code('invoke', [Expression(code)])}",
            f"want = {model.code('invoke', [model.prompt])}",
            "assert got == want, (got, want)",
        )
    return None


@area.clause(
    4,
    "The caller's messages are not changed.",
    level="contract",
    why="The history of the conversation grows texts that nobody has said, in the caller's own "
    "list or its checkpoints, and the next call is given them.",
    source="this project's; langchain_core BaseChatModel hands the caller's own message objects to "
    "`_generate`",
    fix="Build new messages or dicts for the request: `[*messages, extra]`, "
    "`message.model_copy(update=…)`.",
)
def inputs_stay(model: ChatSubject) -> None:
    paths = ("invoke", "stream") if model.streams else ("invoke",)
    for path in paths:
        messages = conversation(model.prompt)
        before = [one.model_dump() for one in messages]
        trace = model.attempt(path, messages, again=True)
        after = [one.model_dump() for one in messages]
        model.expect(
            before == after,
            f"{path} changed the caller's messages: {_changed(before, after)}",
            MESSAGES,
            f"messages = {messages_code(conversation(model.prompt))}",
            "before = [one.model_dump() for one in messages]",
            raw(path, [Expression("messages")]),
            "assert [one.model_dump() for one in messages] == before, 'the messages have changed'",
        )
        if trace.error is not None:
            raise Skipped(f"{path} of a conversation raised {describe_error(trace.error)}")


def _text_of(model: ChatSubject, given: Any) -> Any:
    return model.ask("invoke", given, again=True).text


def conversation(prompt: str) -> list[BaseMessage]:
    """Return a conversation whose last message is a prompt."""
    return [
        SystemMessage("You are helpful."),
        HumanMessage("Hi!"),
        AIMessage("Hello."),
        HumanMessage(prompt),
    ]


def _changed(before: list[Any], after: list[Any]) -> str:
    if len(before) != len(after):
        return f"there are {len(after)} instead of {len(before)}"
    for number, (one, other) in enumerate(zip(before, after, strict=True)):
        for name in one:
            if one[name] != other.get(name):
                return f"{name} of message {number} is {shown(other.get(name))}"
    return "a field is new"


@area.clause(
    5,
    "No system, human or AI message is silently lost.",
    level="contract",
    why="Instructions are not followed and the conversation is forgotten, and nothing says so.",
    source="this project's; langchain_core BaseChatModel._generate: «messages: The messages to "
    "generate from.»",
    fix="Give all messages to the model, each in its role; raise an error for a kind that it "
    "cannot take.",
)
def none_lost(model: ChatSubject) -> str | None:
    told, untold = [], []
    for kind, messages in _with_long(model.prompt).items():
        seen = _is_seen(model, messages)
        if seen is None:
            untold.append(kind)
            continue
        told.append(kind)
        model.expect(
            seen,
            f"a long {kind} message is lost: it makes no difference to the input tokens, or is not "
            "in the prompt",
            MESSAGES,
            f"messages = {messages_code(messages)}",
            *_lost_lines(model, messages),
        )
    if not told:
        raise Skipped(
            "what becomes of a message cannot be told: answers do not depend on it, and no input "
            "tokens are counted"
        )
    return f"could not be told of {', '.join(untold)} messages" if untold else None


def _lost_lines(model: ChatSubject, messages: list[BaseMessage]) -> tuple[str, ...]:
    if _by_prompt(model):
        return (
            "from langchain_wrap.checks.chat.seam import Seam, standing",
            "",
            "with standing(llm, seam := Seam()) as llm:",
            "    llm.invoke(messages)",
            f"assert any({_LONG!r} in visit.text for visit in seam.visits), seam.visits",
        )
    return (
        f"short = {messages_code(_short(messages))}",
        "try:",
        "    got, want = llm.invoke(messages), llm.invoke(short)",
        "except Exception:",
        "    raise SystemExit from None",
        "counts = [(one.usage_metadata or {}).get('input_tokens') for one in (got, want)]",
        "assert counts[0] is None or counts[0] > counts[1], counts",
    )


def _by_prompt(model: ChatSubject) -> bool:
    """Whether a template makes a prompt of the messages, so that they can be looked for in it."""
    return isinstance(model.llm, LLMChat) and not model.llm._is_native


def _with_long(prompt: str) -> dict[str, list[BaseMessage]]:
    """Return conversations with a long message of each kind."""
    return {
        "human": [HumanMessage(_LONG), AIMessage("Hello."), HumanMessage(prompt)],
        "system": [SystemMessage(_LONG), HumanMessage(prompt)],
        "AI": [HumanMessage("Hi!"), AIMessage(_LONG), HumanMessage(prompt)],
    }


def _short(messages: list[BaseMessage]) -> list[BaseMessage]:
    return [
        one.model_copy(update={"content": "Well."}) if one.content == _LONG else one
        for one in messages
    ]


def _enough(text: str) -> None:
    raise RuntimeError("the prompt is known: no need to ask the model")


def _is_seen(model: ChatSubject, messages: list[BaseMessage]) -> bool | None:
    """Return whether a long message is given to the model; None if it cannot be told."""
    if _by_prompt(model):
        with model.seam(before=_enough) as (llm, seam):
            trace = model.attempt("invoke", messages, llm=llm)
        if not seam.visits:
            return None if trace.error is None else True  # an error is not silent
        return any(_LONG in visit.text for visit in seam.visits)
    counts: list[Any] = []
    texts: list[Any] = []
    for one in (messages, _short(messages)):
        trace = model.attempt("invoke", one, again=True, edge=True)
        if trace.error is not None:
            return True  # not silently
        usage = getattr(trace.message, "usage_metadata", None) or {}
        counts.append(usage.get("input_tokens"))
        texts.append(trace.text)
    if model.deterministic and texts[0] != texts[1]:
        return True
    if not all(isinstance(count, int) and count > 0 for count in counts):
        return None
    if counts[0] > counts[1]:
        return True
    # Only where longer input does count: some services report the same number for everything.
    longer = model.attempt("invoke", f"{_LONG} {model.prompt}", again=True, edge=True)
    usage = getattr(longer.message, "usage_metadata", None) or {}
    own = (getattr(model.ask("invoke").message, "usage_metadata", None) or {}).get("input_tokens")
    grows = isinstance(own, int) and (usage.get("input_tokens") or 0) > own
    return False if grows else None


@area.clause(
    6,
    'With `output_version="v1"` the answer has the same text, in content blocks.',
    level="contract",
    why="Programs that ask for standard content blocks get an answer without its text, or twice.",
    source="langchain_core BaseChatModel.output_version: «standardized format in content "
    "(consistent with `content_blocks`)»",
    fix="Set plain text or blocks of LangChain's own types as `content`; set "
    '`response_metadata["model_provider"]` only where langchain-core knows the provider.',
)
def blocks(model: ChatSubject) -> str | None:
    llm = variant(model, output_version="v1")
    made = 'llm = llm.model_copy(update={"output_version": "v1"})'
    for path in ("invoke", "stream") if model.streams else ("invoke",):
        plain = model.ask(path).text
        trace = model.ask(path, model.prompt, llm=llm)
        content = getattr(trace.message, "content", None)
        model.expect(
            isinstance(content, list),
            f'with output_version="v1" the content by {path} is {shown(content)}, no list',
            *_summed(made, path, model.prompt),
            "assert isinstance(got.content, list), got.content",
        )
        found = "".join(
            block.get("text", "")
            for block in trace.message.content_blocks
            if block.get("type") == "text"
        )
        if model.deterministic:
            model.expect(
                found == plain or model.ask(path, again=True).text != plain,
                f'with output_version="v1" the text blocks by {path} make up {shown(found)} '
                f"instead of {shown(plain)}",
                f"want = {model.code(path, [model.prompt])}",
                *_summed(made, path, model.prompt),
                "text = ''.join(b['text'] for b in got.content_blocks if b['type'] == 'text')",
                "assert text == want, (text, want)",
            )
    return None if model.deterministic else "the model's answers vary: texts were not compared"


def _summed(made: str, path: str, prompt: str) -> Iterator[str]:
    yield made
    yield f"got = {raw(path, [prompt])}"
    if path == "stream":
        yield "from functools import reduce"
        yield "from operator import add"
        yield "got = reduce(add, got)"


@area.clause(
    7,
    "An answer that a caller keeps is not changed by later calls.",
    level="contract",
    why="Histories change behind the back of those who keep them: answers get the ids, the usage "
    "or the words of later ones.",
    source="this project's; langchain_core sets the id and the metadata on the very message object "
    "that `_generate` gives",
    fix="Make a new AIMessage in each call, and new chunks in each stream.",
)
def answers_stay(model: ChatSubject) -> None:
    for path in ("invoke", "stream") if model.streams else ("invoke",):
        first = model.ask(path, again=True)
        kept = [*first.messages, *first.chunks]
        before = [_dumped(one) for one in kept]
        second = model.ask(path, again=True)
        with contextlib.suppress(IndexError):
            shared = first.messages[0] is second.messages[0]
            model.expect(
                not shared and before == [_dumped(one) for one in kept],
                f"{path} returned the same message object twice"
                if shared
                else f"a second call of {path} changed the answer of the first",
                f"first = {raw(path, [model.prompt])}",
                "before = repr(first)",
                f"second = {raw(path, [model.prompt])}",
                "assert first is not second and repr(first) == before, 'the answer has changed'",
            )


def _dumped(message: Any) -> Any:
    return message.model_dump() if isinstance(message, BaseMessage) else repr(message)
