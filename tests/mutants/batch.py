"""Mutants of BATCH."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from langchain_core.runnables.config import ContextThreadPoolExecutor, get_config_list
from pydantic import PrivateAttr

from mutants.mutant import Mutant
from mutants.right import Core, Ours, pieces


class OneListForAll(Core):
    """Puts all texts into the generations of the first prompt."""

    def _generate(self, prompts, stop=None, run_manager=None, **kwargs):
        texts = [self._call(p, stop=stop, run_manager=run_manager, **kwargs) for p in prompts]
        return LLMResult(generations=[[Generation(text=text) for text in texts]])


class OneListForAllInAsync(Core):
    async def _agenerate(self, prompts, stop=None, run_manager=None, **kwargs):
        texts = [
            await self._acall(p, stop=stop, run_manager=run_manager, **kwargs) for p in prompts
        ]
        return LLMResult(generations=[[Generation(text=text) for text in texts]])


class LastFirst(Core):
    """Works its list off from the end."""

    def batch(self, inputs, config=None, **kwargs):
        if not inputs:
            return []
        configs = get_config_list(config, len(inputs))
        return super().batch(inputs[::-1], configs[::-1], **kwargs)


class LastFirstInAsync(Core):
    async def abatch(self, inputs, config=None, **kwargs):
        if not inputs:
            return []
        configs = get_config_list(config, len(inputs))
        return await super().abatch(inputs[::-1], configs[::-1], **kwargs)


class OnceEach(Core):
    """Asks equal prompts once, and forgets that there were two."""

    def batch(self, inputs, config=None, **kwargs):
        if isinstance(config, list):
            return super().batch(inputs, config, **kwargs)
        return super().batch(list(dict.fromkeys(inputs)), config, **kwargs)


class ByLength(Core):
    """Sorts by length, to pad less, and leaves it so."""

    def _generate(self, prompts, stop=None, run_manager=None, **kwargs):
        prompts = sorted(prompts, key=len)
        return super()._generate(prompts, stop=stop, run_manager=run_manager, **kwargs)


class LongestOfNone(Core):
    """Looks for the longest prompt."""

    def batch(self, inputs, config=None, **kwargs):
        max(len(str(one)) for one in inputs)
        return super().batch(inputs, config, **kwargs)


class KeepsThePrompt(Core):
    """Keeps on `self` what it is asked."""

    _last: str = PrivateAttr(default="")

    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        self._last = prompt
        text = self.text(self._last, stop)
        return text


class KeepsThePromptForALongTime(Core):
    _last: str = PrivateAttr(default="")

    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        self._last = prompt
        time.sleep(0.002)
        return self.text(self._last, stop)


class SharesABuffer(Core):
    """Collects the pieces of its answer on `self`."""

    _buffer: list[str] = PrivateAttr(default_factory=list)

    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        self._buffer.clear()
        for piece in pieces(self.text(prompt, stop)):
            self._buffer.append(piece)
        return "".join(self._buffer)


class KeepsThePromptInStream(Core):
    _last: str = PrivateAttr(default="")

    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        self._last = prompt
        for start in range(0, len(self.text(prompt, stop)) or 1, 3):
            text = self.text(self._last, stop)[start : start + 3]
            chunk = GenerationChunk(text=text)
            if run_manager:
                run_manager.on_llm_new_token(text, chunk=chunk)
            yield chunk


class KeepsThePromptInAsync(Core):
    _last: str = PrivateAttr(default="")

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        self._last = prompt
        await asyncio.sleep(0)
        return self.text(self._last, stop)


class ErrorsAsText(Core):
    """Gives an error for an answer."""

    def batch(self, inputs, config=None, **kwargs):
        try:
            return super().batch(inputs, config, **kwargs)
        except RuntimeError as error:
            return [f"Error: {error}"] * len(inputs)


class ErrorsOfOneType(Core):
    """Turns every error into its own."""

    async def abatch(self, inputs, config=None, **kwargs):
        try:
            return await super().abatch(inputs, config, **kwargs)
        except Exception as error:
            raise OSError("the batch has failed") from error


class AllAtOnce(Core):
    """A thread for each prompt, whatever the config says."""

    def batch(self, inputs, config=None, *, return_exceptions=False, **kwargs):
        configs = get_config_list(config, len(inputs))
        with ContextThreadPoolExecutor(max_workers=64) as pool:
            return list(pool.map(lambda i, c: self.invoke(i, c, **kwargs), inputs, configs))


class AllAtOnceInAsync(Core):
    async def abatch(self, inputs, config=None, *, return_exceptions=False, **kwargs):
        configs = get_config_list(config, len(inputs))
        return list(
            await asyncio.gather(
                *(self.ainvoke(i, c, **kwargs) for i, c in zip(inputs, configs, strict=True))
            )
        )


class OneLosesAll(Ours):
    """What langchain-core's own class does."""

    def batch(self, inputs, config=None, *, return_exceptions=False, **kwargs):
        try:
            return super().batch(inputs, config, **kwargs)
        except Exception as error:
            if return_exceptions:
                return [error for _ in inputs]
            raise


class OneLosesAllInAsync(Ours):
    async def abatch(self, inputs, config=None, *, return_exceptions=False, **kwargs):
        try:
            return await super().abatch(inputs, config, **kwargs)
        except Exception as error:
            if return_exceptions:
                return [error for _ in inputs]
            raise


class OneByOne(Ours):
    def batch(self, inputs, config=None, **kwargs):
        configs = get_config_list(config, len(inputs))
        pairs = zip(inputs, configs, strict=True)
        return [super(OneByOne, self).batch([i], [c], **kwargs)[0] for i, c in pairs]


class OneByOneInAsync(Ours):
    async def abatch(self, inputs, config=None, **kwargs):
        answers: list[Any] = []
        for input_, one in zip(inputs, get_config_list(config, len(inputs)), strict=True):
            answers += await super().abatch([input_], [one], **kwargs)
        return answers


_TOO_FEW = frozenset({"BATCH-05", "BATCH-06", "BATCH-11", "CALL-03", "TOKEN-10"})
_WRONG_ORDER = frozenset({"BATCH-06", "BATCH-11", "TOKEN-09"})

MUTANTS = [
    Mutant("BATCH-01", OneListForAll, Core, also=_TOO_FEW | {"BATCH-03"}),
    Mutant("BATCH-02", OneListForAllInAsync, Core, also=_TOO_FEW | {"BATCH-04"}),
    Mutant("BATCH-03", LastFirst, Core, also=_WRONG_ORDER),
    Mutant("BATCH-04", LastFirstInAsync, Core, also=_WRONG_ORDER),
    Mutant("BATCH-05", OnceEach, Core),
    Mutant("BATCH-06", ByLength, Core),
    Mutant("BATCH-07", LongestOfNone, Core),
    Mutant("BATCH-08", KeepsThePrompt, Core),
    Mutant("BATCH-08", KeepsThePromptForALongTime, Core),
    Mutant("BATCH-08", SharesABuffer, Core),
    Mutant("BATCH-08", KeepsThePromptInStream, Core),
    Mutant("BATCH-09", KeepsThePromptInAsync, Core),
    Mutant("BATCH-10", ErrorsAsText, Core),
    Mutant("BATCH-10", ErrorsOfOneType, Core, also=frozenset({"CALL-10"})),
    Mutant("BATCH-11", AllAtOnce, Core),
    Mutant("BATCH-11", AllAtOnceInAsync, Core),
    Mutant("BATCH-12", OneLosesAll, Ours),
    Mutant("BATCH-12", OneLosesAllInAsync, Ours),
    Mutant("BATCH-13", OneByOne, Ours),
    Mutant("BATCH-14", OneByOneInAsync, Ours),
]
