"""What langchain-core does not promise: as it is today, and if it were gone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from langchain_core.language_models.llms import BaseLLM
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.prompt_values import StringPromptValue
from scripted import KINDS, Recorder

from langchain_wrap.pipeline import core

GUARDED = (
    "_serialized",
    "_get_ls_params_with_defaults",
    "_dict_for_compat",
    "_convert_input",
    "_add_version",
)
INPUTS = {
    "text": ("hello", "hello"),
    "prompt value": (StringPromptValue(text="hello"), "hello"),
    "messages": ([SystemMessage("be nice"), HumanMessage("hi")], "System: be nice\nHuman: hi"),
    "tuples": ([("human", "hi")], "Human: hi"),
}


@pytest.mark.parametrize("name", GUARDED)
def test_the_name_is_still_there(name):
    assert hasattr(KINDS["_call"](), name)


def test_the_streaming_handler_is_still_there():
    assert core.StreamingHandler is not None
    assert not core.is_streaming([Recorder()])


@pytest.mark.parametrize("kind", INPUTS)
def test_inputs_become_the_same_prompt_without_private_help(kind, monkeypatch):
    value, expected = INPUTS[kind]
    llm = KINDS["_call"]()
    assert core.prompt_of(llm, value) == expected
    monkeypatch.delattr(BaseLLM, "_convert_input")
    assert core.prompt_of(llm, value) == expected


def test_what_a_model_is_can_be_told_without_private_help(monkeypatch):
    llm = KINDS["_call"]()
    known = core.serialized(llm)
    monkeypatch.delattr(BaseLLM, "_serialized")
    assert core.serialized(KINDS["_call"]()) == known


def test_without_the_others_a_call_still_works(monkeypatch):
    for owner in BaseLLM.__mro__:
        if "_get_ls_params_with_defaults" in vars(owner):
            monkeypatch.delattr(owner, "_get_ls_params_with_defaults")
    core.add_version(SimpleNamespace(), "some-package", "1.0")  # nothing to tell it to
    recorder = Recorder()
    assert KINDS["_call"]().invoke("abc", {"callbacks": [recorder]}) == "abc"
    assert recorder.names[-1] == "end"


def test_an_override_of_the_older_dict_counts():
    class Older(KINDS["_call"]):
        def dict(self, **kwargs):
            return {"older": True}

    assert core.legacy_dict(Older()) == {"older": True}
    recorder = Recorder()
    Older().invoke("p", {"callbacks": [recorder]})
    assert "older" in str(recorder.payloads)
