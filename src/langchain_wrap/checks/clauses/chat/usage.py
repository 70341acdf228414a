"""CHAT-USAGE: counts of tokens."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import UsageMetadataCallbackHandler

from langchain_wrap.checks.chat.paths import raw
from langchain_wrap.checks.chat.snippets import MERGING
from langchain_wrap.checks.chat.subject import ChatSubject
from langchain_wrap.checks.clause import Area, Skipped
from langchain_wrap.checks.clauses.chat.stream import traces
from langchain_wrap.checks.probes.paths import Expression
from langchain_wrap.checks.shared import shown

area = Area("CHAT-USAGE", "Counts of tokens")

_KEYS = ("input_tokens", "output_tokens", "total_tokens")


def _usage(model: ChatSubject, path: str = "invoke") -> dict[str, Any]:
    """Return the usage that a call tells.

    Raises:
        Skipped: It tells none.
    """
    found = getattr(model.ask(path).message, "usage_metadata", None)
    if not found:
        raise Skipped(f"{path} tells no usage")
    return dict(found)


@area.clause(
    1,
    "Input and output tokens make up the total.",
    level="contract",
    why="Costs are counted by the one or the other, and do not agree.",
    source="langchain_core UsageMetadata: «total_tokens: Total token count. Sum of `input_tokens` "
    "+ `output_tokens`.»",
    fix="`UsageMetadata(input_tokens=i, output_tokens=o, total_tokens=i + o)`, cached and "
    "reasoning tokens among them.",
)
def adds_up(model: ChatSubject) -> None:
    for path in ("invoke", "stream") if model.streams else ("invoke",):
        if path == "stream" and not getattr(model.ask(path).message, "usage_metadata", None):
            continue  # CHAT-USAGE-02 reports it
        usage = _usage(model, path)
        lines = (
            MERGING,
            f"got = {raw(path, [model.prompt])}",
            "got = reduce(add, got)" if path == "stream" else "",
            "usage = got.usage_metadata",
            f"counts = [usage.get(name) for name in {_KEYS}]",
            "assert all(isinstance(n, int) and n >= 0 for n in counts), usage",
            "assert counts[0] + counts[1] == counts[2], usage",
            "for name in ('input', 'output'):",
            "    details = usage.get(f'{name}_token_details') or {}",
            "    assert all(n <= usage[f'{name}_tokens'] for n in details.values() if n), usage",
        )
        counts: list[Any] = [usage.get(name) for name in _KEYS]
        model.expect(
            all(isinstance(count, int) and count >= 0 for count in counts)
            and counts[0] + counts[1] == counts[2],
            f"{path} tells input {counts[0]} and output {counts[1]}, together {counts[2]}",
            *lines,
        )
        for name in ("input", "output"):
            for part, count in (usage.get(f"{name}_token_details") or {}).items():
                model.expect(
                    not isinstance(count, int) or count <= usage[f"{name}_tokens"],
                    f"{path} tells {count} {part} tokens of {usage[f'{name}_tokens']} {name} "
                    "tokens",
                    *lines,
                )


@area.clause(
    2,
    "The chunks of a stream add up to the usage that `invoke` tells.",
    level="production",
    why="Chunks are added: a usage that is told in several of them counts several times, and one "
    "that is told in none is not paid for by anybody.",
    source="langchain_core AIMessageChunk: `usage_metadata` is added (`add_usage`); Chat model "
    "docs: usage is told by the last chunks of a stream",
    fix="Tell the usage in one chunk, the last; ask the service for it (`stream_options="
    '{"include_usage": True}`).',
)
def of_streams(model: ChatSubject) -> str | None:
    wanted = _usage(model)
    for path, trace in traces(model):
        got = getattr(trace.message, "usage_metadata", None) or {}
        told = [chunk for chunk in trace.chunks if getattr(chunk, "usage_metadata", None)]
        lines = (
            MERGING,
            f"got = reduce(add, {raw(path, [model.prompt])}).usage_metadata",
            f"want = {raw('invoke', [model.prompt])}.usage_metadata",
            f"names = {_KEYS}",
            "got, want = ([one.get(name) for name in names] for one in (got or {}, want))",
            "assert got == want, (got, want)",
        )
        counts = {name: got.get(name) for name in _KEYS}
        model.expect(got, f"invoke tells a usage, and {path} none", *lines)
        if not model.deterministic:
            own = got.get("input_tokens") == wanted.get("input_tokens")
            model.expect(
                own or len(told) < 2,
                f"{path} tells {got.get('input_tokens')} input tokens in {len(told)} chunks, and "
                f"invoke {wanted.get('input_tokens')}",
                *lines,
            )
            continue
        want = {name: wanted.get(name) for name in _KEYS}
        same = counts == want
        if not same and len(told) == 1:
            # Engines with a cache may count anew; what is told twice is added up.
            again = _usage_again(model)
            same = again != want
        model.expect(
            same,
            f"{path} tells {shown(counts)}, in {len(told)} chunk(s), and invoke {shown(want)}",
            *lines,
        )
    return None if model.deterministic else "the model's answers vary: only input was compared"


def _usage_again(model: ChatSubject) -> dict[str, Any]:
    message = model.ask("invoke", again=True).message
    usage = getattr(message, "usage_metadata", None) or {}
    return {name: usage.get(name) for name in _KEYS}


@area.clause(
    3,
    "What a counter of usage hears of a batch is the sum of its answers.",
    level="contract",
    why="Budgets and bills are made of what callbacks hear.",
    source="langchain_core UsageMetadataCallbackHandler: usage of `on_llm_end`, by "
    '`response_metadata["model_name"]`',
    fix="Put `usage_metadata` and `model_name` into each message, and the same into what "
    "`on_llm_end` is told; call no callbacks yourself.",
)
def counted(model: ChatSubject) -> None:
    _usage(model)
    named = model.ask("invoke").message.response_metadata.get("model_name")
    if not named:
        raise Skipped("answers do not say `model_name`, by which usage is counted")
    prompts = model.numbered(2 if model.slow else 4)
    for path in ("batch", "abatch"):
        counter = UsageMetadataCallbackHandler()
        trace = model.ask(path, *prompts, config={"callbacks": [counter]})
        heard = _sum(counter.usage_metadata.values())
        given = _sum(getattr(one, "usage_metadata", None) or {} for one in trace.messages)
        config = Expression("{'callbacks': [counter]}")
        model.expect(
            heard == given,
            f"the answers of {path} tell {shown(given)}, and a counter heard {shown(heard)}",
            "from langchain_core.callbacks import UsageMetadataCallbackHandler",
            "",
            "counter = UsageMetadataCallbackHandler()",
            f"got = {raw(path, prompts, config=config)}",
            "heard = sum(u['total_tokens'] for u in counter.usage_metadata.values())",
            "given = sum(one.usage_metadata['total_tokens'] for one in got)",
            "assert heard == given, (heard, given)",
        )


def _sum(usages: Any) -> dict[str, int]:
    known = list(usages)
    return {name: sum(usage.get(name) or 0 for usage in known) for name in _KEYS}
