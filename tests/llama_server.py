"""llama.cpp's own server, inside this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def llama_server(model: Path, key: str, *, n_ctx: int = 1024, n_threads: int = 1) -> Any:
    """Return a server that answers at its `listening_address` as long as it is kept."""
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_parallel, params.n_ctx = 2, 2 * n_ctx
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = n_threads
    params.n_batch = params.n_ubatch = 64
    params.cache_ram_mib = 0
    params.verbosity, params.ui = -1, False
    params.endpoint_slots = True
    params.api_keys = [key]
    server = xllamacpp.Server(params)
    # A server that is freed before its first request may hang: give it one.
    server.handle_completions({"prompt": "a", "max_tokens": 1})
    return server
