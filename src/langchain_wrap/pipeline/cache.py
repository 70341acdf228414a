"""The cache: where a completion is, and whether it may be kept."""

from __future__ import annotations

from typing import Any

from langchain_core.caches import BaseCache
from langchain_core.globals import get_llm_cache
from langchain_core.outputs import Generation, GenerationChunk

from langchain_wrap.pipeline.shell import Shell

NOT_KEPT = frozenset({"cancelled", "length", "max_length", "max_tokens", "model_length"})
"""Finish reasons, in lower case, of completions that are not whole, as providers name them."""


def resolve(cache: object) -> BaseCache | None:
    """Return the cache that a model's field `cache` names, as langchain-core reads it.

    Raises:
        ValueError: It is True and no global cache is set, or it is nothing that can be a cache.
    """
    if isinstance(cache, BaseCache):
        return cache
    if cache is None:
        return get_llm_cache()
    if cache is False:
        return None
    if cache is True:
        found = get_llm_cache()
        if found is None:
            raise ValueError(
                "cache=True uses the global cache, and none is set: call "
                "langchain_core.globals.set_llm_cache(...), or give the model a cache object"
            )
        return found
    raise ValueError(f"cache must be True, False, None or a BaseCache, not {cache!r}")


class CacheEntry:
    """One completion's place in a cache.

    Args:
        cache: The cache.
        prompt: The prompt.
        key: The model's configuration and all parameters of the call, as text.
    """

    def __init__(self, cache: BaseCache, prompt: str, key: str) -> None:
        self._cache = cache
        self._prompt = prompt
        self._key = key

    async def look_up(self, shell: Shell) -> GenerationChunk | None:
        """Return the completion, if the cache has it."""
        found: Any = await shell.settle(shell.lookup(self._cache, self._prompt, self._key))
        if not isinstance(found, list) or not found:
            return None
        return GenerationChunk(text=found[0].text, generation_info=found[0].generation_info)

    async def store(self, shell: Shell, completion: GenerationChunk) -> None:
        """Keep a completion, unless it was cut short."""
        info = completion.generation_info
        if info and str(info.get("finish_reason")).lower() in NOT_KEPT:
            return
        value = [Generation(text=completion.text, generation_info=info)]
        await shell.settle(shell.update(self._cache, self._prompt, self._key, value))
