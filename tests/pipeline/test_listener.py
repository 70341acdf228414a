"""Who is told: langchain-core's arguments read, and its async start mended."""

from __future__ import annotations

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from scripted import KINDS

from langchain_wrap.pipeline.listener import Listener


class Started(AsyncCallbackHandler):
    def __init__(self, inline):
        self.run_inline = inline
        self.ids = []

    async def on_llm_start(self, *args, run_id, **kwargs):
        self.ids.append(run_id)

    async def on_llm_end(self, *args, run_id, **kwargs):
        self.ids.append(run_id)


@pytest.mark.parametrize("path", ["ainvoke", "abatch", "astream"])
async def test_handlers_that_run_inline_do_not_silence_the_others(path):
    inline, other = Started(inline=True), Started(inline=False)
    llm, config = KINDS["_stream"](), {"callbacks": [inline, other]}
    if path == "astream":
        assert [text async for text in llm.astream("p", config)]
    else:
        await getattr(llm, path)(["p"] if path == "abatch" else "p", config)
    assert len(inline.ids) == 2
    assert inline.ids == other.ids
    assert len(set(inline.ids)) == 1


async def test_events_come_beside_an_inline_handler():
    llm = KINDS["_stream"]()
    config = {"callbacks": [Started(inline=True)]}
    events = [event["event"] async for event in llm.astream_events("p", config, version="v2")]
    assert events[0] == "on_llm_start"
    assert events[-1] == "on_llm_end"


def test_one_listener_for_all_prompts_keeps_the_run_id_for_the_first():
    one, two = Listener.spread(["a", "b"], None, "the id", tags=["t"], metadata=None, run_name="n")
    assert (one.run_id, two.run_id) == ("the id", None)
    assert one.tags == two.tags == ["t"]
    assert one.run_name == two.run_name == "n"


def test_lists_are_spread():
    first, second = [BaseCallbackHandler()], None
    one, two = Listener.spread(
        ["a", "b"], [first, second], ["x", "y"], tags=[["t"], ["u"]], metadata=None, run_name=None
    )
    assert (one.callbacks, one.tags, one.run_id) == (first, ["t"], "x")
    assert (two.callbacks, two.tags, two.run_id) == (None, ["u"], "y")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"prompts": "ab"}, "must be a list of str, not str"),
        ({"prompts": ["a", 1]}, "holds 1"),
        ({"callbacks": [None]}, "callbacks must be a list of the same length as prompts"),
        ({"callbacks": [None, None], "tags": ["t"]}, "tags must be a list of the same length"),
        ({"run_id": ["x"]}, "1 run_id's were given for 2 prompts"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, says):
    given = {"prompts": ["a", "b"], "callbacks": None, "run_id": None} | arguments
    options = {"tags": None, "metadata": None, "run_name": None} | given
    with pytest.raises(ValueError, match=says):
        Listener.spread(**options)
