"""Mutants of CALL."""

from __future__ import annotations

from langchain_core.messages import AIMessage
from langchain_core.outputs import Generation, LLMResult

from mutants.mutant import Mutant
from mutants.right import Core


class ReturnsTheResponse(Core):
    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        return {"text": self.text(prompt, stop)}


class ReturnsAMessage(Core):
    def invoke(self, input, config=None, **kwargs):
        return AIMessage(super().invoke(input, config, **kwargs))


class AnswersOtherwiseInAsync(Core):
    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        return self.text(prompt, stop).lower()


class GeneratesOneList(Core):
    """All answers in the list of the first prompt, where the prompts are strings."""

    def generate_prompt(self, prompts, stop=None, callbacks=None, **kwargs):
        return super().generate([p.to_string() for p in prompts], stop, callbacks, **kwargs)

    def generate(self, prompts, stop=None, callbacks=None, **kwargs):
        result = super().generate(prompts, stop, callbacks, **kwargs)
        return LLMResult(generations=[[row[0] for row in result.generations]])


class GeneratesOtherwiseInAsync(Core):
    async def agenerate_prompt(self, prompts, stop=None, callbacks=None, **kwargs):
        strings = [prompt.to_string() for prompt in prompts]
        return await super().agenerate(strings, stop, callbacks, **kwargs)

    async def agenerate(self, prompts, stop=None, callbacks=None, **kwargs):
        texts = [self.text(prompt, stop).strip(".") for prompt in prompts]
        return LLMResult(generations=[[Generation(text=text)] for text in texts])


class TakesTheInputForAString(Core):
    """Its own `invoke` hands on what a chain gives as its printed form."""

    def invoke(self, input, config=None, **kwargs):
        return super().invoke(input if isinstance(input, list) else str(input), config, **kwargs)


class TakesNoMessages(Core):
    def invoke(self, input, config=None, **kwargs):
        if isinstance(input, list):
            raise TypeError("invoke() takes a prompt")
        return super().invoke(input, config, **kwargs)


class StumblesOverAnEmptyPrompt(Core):
    def text(self, prompt, stop):
        return super().text(prompt[0] + prompt[1:], stop)


class SaysNothingOfALongPrompt(Core):
    def text(self, prompt, stop):
        if len(prompt) > 10_000:
            raise RuntimeError
        return super().text(prompt, stop)


class SpeaksLatin(Core):
    def text(self, prompt, stop):
        return super().text(prompt, stop).encode("latin-1").decode("latin-1")


class LosesWhatIsNoText(Core):
    def text(self, prompt, stop):
        try:
            prompt.encode()
        except UnicodeEncodeError:
            raise ValueError from None
        return super().text(prompt, stop)


class SaysItsErrors(Core):
    def text(self, prompt, stop):
        try:
            return super().text(prompt.encode().decode(), stop)
        except Exception as error:
            return f"Error: {error}"


class StumblesOverNul(Core):
    def text(self, prompt, stop):
        return {False: super().text(prompt, stop)}["\x00" in prompt]


class AnswersWithTheError(Core):
    def invoke(self, input, config=None, **kwargs):
        try:
            return super().invoke(input, config, **kwargs)
        except Exception as error:
            return f"Error: {error}"


def refusing(prompt):
    if not prompt:
        raise ValueError("the prompt is empty")


class Refuses(Core):
    def text(self, prompt, stop):
        refusing(prompt)
        return super().text(prompt, stop)


class RaisesOtherwiseInAsync(Refuses):
    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        try:
            return self.text(prompt, stop)
        except Exception as error:
            raise RuntimeError(f"the model has failed: {error}") from error


class ReportsErrorsItself(Refuses):
    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        try:
            return self.text(prompt, stop)
        except Exception as error:
            if run_manager:
                run_manager.on_llm_error(error)
            raise


class TriesAgain(Core):
    """Its own `ainvoke` makes two runs of one call."""

    async def ainvoke(self, input, config=None, **kwargs):
        try:
            return await super().ainvoke(input, config, **kwargs)
        except Exception:
            return await super().ainvoke(input, config, **kwargs)


class TakesParametersWhereItStreams(Core):
    def _call(self, prompt, stop=None, run_manager=None):
        return self.text(prompt, stop)


class DoesNotNameTheParameter(Core):
    def text_of(self, prompt, stop, kwargs):
        if set(kwargs) - {"temperature"}:
            raise ValueError("bad request")
        return self.text(prompt, stop)

    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        return self.text_of(prompt, stop, kwargs)

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        return self.text_of(prompt, stop, kwargs)

    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        self.text_of(prompt, stop, kwargs)
        return super()._stream(prompt, stop, run_manager)

    async def _astream(self, prompt, stop=None, run_manager=None, **kwargs):
        self.text_of(prompt, stop, kwargs)
        async for chunk in super()._astream(prompt, stop, run_manager):
            yield chunk


class Tempered(Core):
    temperature: float = 0.7
    """How much the answers vary."""


class RemembersItsParameters(Tempered):
    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        self.temperature = kwargs.get("temperature", self.temperature)
        return self.text(prompt, stop)


class SignsTheConfig(Core):
    def invoke(self, input, config=None, **kwargs):
        if config and "metadata" in config:
            config["metadata"]["model_name"] = self.model_name
        return super().invoke(input, config, **kwargs)


class FillsInAParameter(Core):
    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        for value in kwargs.values():
            if isinstance(value, dict):
                value.setdefault("model_name", self.model_name)
        return self.text(prompt, stop)


class RepeatsThePrompt(Core):
    def text(self, prompt, stop):
        return prompt + super().text(prompt, stop)


MUTANTS = [
    Mutant("CALL-01", ReturnsTheResponse, Core),
    Mutant("CALL-01", ReturnsAMessage, Core),
    Mutant("CALL-02", AnswersOtherwiseInAsync, Core),
    Mutant("CALL-03", GeneratesOneList, Core),
    Mutant("CALL-03", GeneratesOtherwiseInAsync, Core),
    Mutant("CALL-04", TakesTheInputForAString, Core),
    Mutant("CALL-05", TakesNoMessages, Core),
    Mutant("CALL-06", StumblesOverAnEmptyPrompt, Core),
    Mutant("CALL-07", SaysNothingOfALongPrompt, Core),
    Mutant("CALL-08", SpeaksLatin, Core),
    Mutant("CALL-09", LosesWhatIsNoText, Core),
    Mutant("CALL-09", SaysItsErrors, Core),
    Mutant("CALL-09", StumblesOverNul, Core),
    Mutant("CALL-10", AnswersWithTheError, Core),
    Mutant("CALL-10", RaisesOtherwiseInAsync, Refuses),
    Mutant("CALL-11", ReportsErrorsItself, Refuses),
    Mutant("CALL-11", TriesAgain, Core),
    Mutant("CALL-12", TakesParametersWhereItStreams, Core),
    Mutant("CALL-12", DoesNotNameTheParameter, Core),
    Mutant("CALL-13", RemembersItsParameters, Tempered),
    Mutant("CALL-14", SignsTheConfig, Core),
    Mutant("CALL-14", FillsInAParameter, Core),
    Mutant("CALL-15", RepeatsThePrompt, Core),
]
