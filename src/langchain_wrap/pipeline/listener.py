"""Listeners: who is told of a prompt's run, as LangChain's callers say it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackManager, Callbacks
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, get_config_list


class Listener(NamedTuple):
    """Who is told of one prompt's run."""

    callbacks: Callbacks = None
    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None
    run_name: str | None = None
    run_id: uuid.UUID | None = None

    @classmethod
    def of(cls, config: RunnableConfig) -> Listener:
        """Return the listener that a runnable's config names."""
        return cls(
            callbacks=config.get("callbacks"),
            tags=config.get("tags"),
            metadata=config.get("metadata"),
            run_name=config.get("run_name"),
            run_id=config.get("run_id"),
        )

    def shares_with(self, other: Listener) -> bool:
        """Whether the same callback manager serves both."""
        return (
            self.callbacks is other.callbacks
            and self.tags is other.tags
            and self.metadata is other.metadata
        )

    @classmethod
    def each(
        cls, config: RunnableConfig | list[RunnableConfig] | None, count: int
    ) -> tuple[list[Listener], int | None]:
        """Return a listener for each input of a batch, and the config's `max_concurrency`."""
        if count and (config is None or (isinstance(config, dict) and not config.get("run_id"))):
            shared = ensure_config(config)
            return [cls.of(shared)] * count, shared.get("max_concurrency")
        configs = get_config_list(config, count)
        most = configs[0].get("max_concurrency") if configs else None
        return [cls.of(each) for each in configs], most

    @classmethod
    def spread(cls, prompts: object, callbacks: Any, run_id: Any, **options: Any) -> list[Listener]:
        """Return a listener for each prompt of `generate`, which takes values or lists of them.

        Raises:
            ValueError: The prompts are not a list of strings, or another list has another length.
        """
        if not isinstance(prompts, list):
            raise ValueError(f"prompts must be a list of str, not {type(prompts).__name__}")
        for prompt in prompts:
            if not isinstance(prompt, str):
                raise ValueError(f"prompts must be a list of str, and holds {prompt!r}")
        count = len(prompts)
        # `invoke` comes this way each time: nothing to spread.
        if count == 1 and not isinstance(callbacks, list) and not isinstance(run_id, list):
            return [cls(callbacks=callbacks, run_id=run_id, **options)]
        each = (
            isinstance(callbacks, list)
            and bool(callbacks)
            and (callbacks[0] is None or isinstance(callbacks[0], list | BaseCallbackManager))
        )
        if each:
            options["callbacks"] = callbacks
            for name, value in options.items():
                if value is not None and not (isinstance(value, list) and len(value) == count):
                    raise ValueError(
                        f"{name} must be a list of the same length as prompts ({count}), "
                        "because callbacks is a list with an entry for each prompt"
                    )
            columns = {name: value or [None] * count for name, value in options.items()}
        else:
            columns = {name: [value] * count for name, value in options.items()}
            columns["callbacks"] = [callbacks] * count
        if isinstance(run_id, list):
            if len(run_id) != count:
                raise ValueError(f"{len(run_id)} run_id's were given for {count} prompts")
            columns["run_id"] = run_id
        else:
            columns["run_id"] = [run_id] + [None] * (count - 1)
        return [
            cls(**{name: column[index] for name, column in columns.items()})
            for index in range(count)
        ]


def start_of(manager: Any) -> Callable[..., Any]:
    """Return the manager's `on_llm_start`, mended.

    langchain-core's async one (to 1.8.2 at least) leaves out the handlers that do not run inline
    as soon as there is one that does, a tracer for instance.
    """
    inline = [handler for handler in manager.handlers if handler.run_inline]
    if not isinstance(manager, AsyncCallbackManager) or len(inline) in (0, len(manager.handlers)):
        return cast("Callable[..., Any]", manager.on_llm_start)

    async def start(*args: Any, **kwargs: Any) -> list[Any]:
        kwargs["run_id"] = kwargs.get("run_id") or uuid.uuid4()
        for group in (inline, [h for h in manager.handlers if not h.run_inline]):
            part = manager.copy()
            part.handlers = group
            (run,) = await part.on_llm_start(*args, **kwargs)
        run.handlers = manager.handlers
        return [run]

    return start
