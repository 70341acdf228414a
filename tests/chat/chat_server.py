"""llama.cpp's own server, inside this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from chat_scripted import KEY


@contextmanager
def llama_server(model: Path, *, n_ctx: int = 1024, n_threads: int = 1) -> Iterator[str]:
    """Its base URL, as of OpenAI's API; its key is `KEY`."""
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_parallel, params.n_ctx = 2, 2 * n_ctx
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = n_threads
    params.n_batch = params.n_ubatch = 64
    params.cache_ram_mib = 0
    params.verbosity, params.ui = -1, False
    params.api_keys = [KEY]
    server = xllamacpp.Server(params)
    # A server that is freed before its first request may hang: give it one.
    server.handle_completions({"prompt": "a", "max_tokens": 1})
    yield f"{server.listening_address}/v1"
    del server
