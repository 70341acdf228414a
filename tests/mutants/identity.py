"""Mutants of IDENTITY."""

from __future__ import annotations

import itertools
import time
import uuid
from typing import Any

from langchain_core.outputs import Generation
from pydantic import PrivateAttr

from mutants.mutant import Mutant
from mutants.right import Core, Ours, answer, before, pieces


class EmptyType(Core):
    @property
    def _llm_type(self):
        return ""


class ChangingType(Core):
    @property
    def _llm_type(self):
        return f"so-{uuid.uuid4()}"


class SetInParams(Core):
    @property
    def _identifying_params(self):
        return {**super()._identifying_params, "languages": {"en"}}


class CountsInParams(Core):
    _calls: itertools.count = PrivateAttr(default_factory=lambda: itertools.count(1))
    _last: int = PrivateAttr(default=0)

    def text(self, prompt, stop):
        self._last = next(self._calls)
        return super().text(prompt, stop)

    @property
    def _identifying_params(self):
        return {**super()._identifying_params, "calls": self._last}


class StrNeedsConnection(Core):
    _client: Any = PrivateAttr(default=None)

    def __str__(self):
        return f"So at {self._client.address}"


class NamesAnother(Core):
    @property
    def _identifying_params(self):
        return {"model_name": "gpt-4", "repeat": self.repeat}


class SharesOptions(Core):
    _options: dict[str, Any] = PrivateAttr(default_factory=dict)

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        self._options[name] = value

    def text(self, prompt, stop):
        return before(answer(prompt) * self._options.get("repeat", self.repeat), stop)


class StampsCalls(Core):
    def asdict(self):
        return {**super().asdict(), "at": time.perf_counter_ns()}


class CachesByPrompt(Core):
    """Looks into the cache itself, before anything else is done."""

    def invoke(self, input, config=None, *, stop=None, **kwargs):
        if not self.cache:
            return super().invoke(input, config, stop=stop, **kwargs)
        found = self.cache.lookup(str(input), str(self))
        if found is None:
            text = super().invoke(input, config, stop=stop, **kwargs)
            found = [Generation(text=text)]
            self.cache.update(str(input), str(self), found)
        return found[0].text


class Tunable(Ours):
    """Ours, and it takes a parameter."""

    def _stream(self, prompt, temperature: float = 0.0):
        yield from pieces(answer(prompt) * self.repeat + "!" * int(temperature))


class LeavesOutField(Ours):
    def asdict(self):
        return {"model_name": self.model_name, "_type": self._llm_type}


class CachesItself(Tunable):
    """Looks into the cache itself, by a key of its own."""

    def key(self, stop, kwargs) -> str:
        raise NotImplementedError

    def invoke(self, input, config=None, *, stop=None, **kwargs):
        if not self.cache:
            return super().invoke(input, config, stop=stop, **kwargs)
        key = self.key(stop, kwargs)
        found = self.cache.lookup(str(input), key)
        if found is None:
            text = super().invoke(input, config, stop=stop, **kwargs)
            found = [Generation(text=text)]
            self.cache.update(str(input), key, found)
        return found[0].text


class CacheForgetsFields(CachesItself):
    def key(self, stop, kwargs):
        return f"{self.model_name} {stop} {kwargs}"


class CacheForgetsParameters(CachesItself):
    def key(self, stop, kwargs):
        return f"{self.model_name} {self.repeat} {stop}"


class SilentHits(CachesItself):
    def key(self, stop, kwargs):
        return f"{self.model_name} {self.repeat} {stop} {kwargs}"


class DeepCopyIsItself(Ours):
    def __deepcopy__(self, memo=None):
        return self


class KeepsLambda(Ours):
    _clean: Any = PrivateAttr(default_factory=lambda: lambda text: text.strip())


MUTANTS = [
    Mutant("IDENTITY-01", EmptyType, Core),
    Mutant("IDENTITY-01", ChangingType, Core, also=frozenset({"IDENTITY-10"})),
    Mutant("IDENTITY-02", SetInParams, Core),
    Mutant("IDENTITY-03", CountsInParams, Core),
    Mutant("IDENTITY-04", StrNeedsConnection, Core),
    Mutant("IDENTITY-05", NamesAnother, Core),
    Mutant("IDENTITY-06", LeavesOutField, Ours),
    Mutant("IDENTITY-07", SharesOptions, Core),
    Mutant("IDENTITY-08", DeepCopyIsItself, Ours),
    Mutant("IDENTITY-09", KeepsLambda, Ours),
    Mutant("IDENTITY-10", StampsCalls, Core),
    Mutant("IDENTITY-11", CachesByPrompt, Core),
    Mutant("IDENTITY-12", CacheForgetsFields, Tunable, also=frozenset({"IDENTITY-14"})),
    Mutant("IDENTITY-13", CacheForgetsParameters, Tunable, also=frozenset({"IDENTITY-14"})),
    Mutant("IDENTITY-14", SilentHits, Tunable),
]
