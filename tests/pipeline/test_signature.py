from __future__ import annotations

import pytest

from langchain_wrap.pipeline.signature import Signature


def test_what_is_offered_and_what_is_a_parameter():
    def function(prompt, stop=None, temperature=1, *, cancel, top_k, run_manager=None):
        pass

    signature = Signature.of(function)
    assert signature.offered == {"stop", "cancel", "run_manager"}
    assert signature.parameters == ("temperature", "top_k")
    assert signature.required == ("top_k",)
    assert not signature.open


def test_kwargs_take_everything():
    signature = Signature.of(lambda prompt, **kwargs: None)
    assert signature.open
    signature.check("x", {"anything": 1})


def test_a_bound_method_does_not_count_self():
    class Model:
        def _call(self, prompt, top_k=1):
            pass

    assert Signature.of(Model()._call).parameters == ("top_k",)


def test_an_unknown_parameter_names_the_known_and_the_nearest():
    signature = Signature.of(lambda prompt, temperature=1, top_k=2: None)
    signature.check("f()", {"top_k": 1})
    with pytest.raises(TypeError, match=r"f\(\) takes no parameter 'topk'.*temperature, top_k.*"):
        signature.check("f()", {"topk": 1})
    with pytest.raises(TypeError, match="It takes: none"):
        Signature.of(lambda prompt: None).check("f()", {"x": 1})


def test_a_function_without_a_prompt_is_refused():
    with pytest.raises(TypeError, match="takes no prompt"):
        Signature.of(lambda: None)
    with pytest.raises(TypeError, match="takes no prompt"):
        Signature.of(lambda *, prompt: None)


def test_args_may_take_the_prompt():
    assert Signature.of(lambda *args, top_k=1: None).parameters == ("top_k",)
