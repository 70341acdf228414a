"""The engine: llama.cpp's server loop inside this process, one copy per file and settings.

`xllamacpp` is fast and has sharp edges; this file is where they are kept. Measured on the pinned
version: an exit of the interpreter while it generates is a crash, and so is an exit of a forked
child that inherited it; an exception inside its callback is lost, Ctrl-C included; a server that
is freed before its first request may hang. Hence: everything is cancelled and joined at exit, a
child never touches what it inherited, and generations run in threads of their own.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import logging
import os
import threading
import time
import weakref
from dataclasses import dataclass
from typing import Any

from langchain_wrap.errors import MissingExtraError
from langchain_wrap.models import llama_fork
from langchain_wrap.models.llama_slots import Slots
from langchain_wrap.models.llama_socket import Address

logger = logging.getLogger("langchain_wrap.llama_cpp")

_EXIT_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What the weights are loaded with; equal settings share one engine."""

    path: str
    stamp: tuple[Any, ...] | None
    """Size and time of change of the file: another file in its place is another model."""
    n_ctx: int
    n_parallel: int
    n_threads: int
    n_batch: int
    n_gpu_layers: int | None


class Core:
    """What is live: the server and what belongs to it. Worker threads hold this, not `Engine`."""

    def __init__(self, settings: Settings) -> None:
        self.pid = os.getpid()
        self.closed = False
        self.slots = Slots(settings.n_parallel)
        self.live: set[Any] = set()
        """Generations in flight."""
        self.address = Address()
        try:
            self.server: Any = _load(settings, self.address)
        except BaseException:
            self.address.remove()
            raise

    def close(self, patience: float = 0.0) -> None:
        """Cancel what runs, wait for it for at most `patience` seconds, free the weights."""
        if self.pid != os.getpid():
            return
        self.closed = True
        generations = list(self.live)
        for generation in generations:
            generation.cancel()
        deadline = time.monotonic() + patience
        if patience and not all(
            generation.join(max(0.0, deadline - time.monotonic())) for generation in generations
        ):
            self.abandon()
        self.server = None
        self.address.remove()

    def abandon(self) -> None:
        """Make sure that the server is never freed: where that would hang or crash."""
        if self.server is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.server))
        self.closed = True


class Engine:
    """One loaded model. It is freed when nobody holds it any more."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.proven: set[str] = set()
        """Constraints that the engine was seen to honour."""
        self._begins: dict[str, bool] = {}
        self.core = Core(settings)
        _cores.add(self.core)
        weakref.finalize(self, _retire, self.core).atexit = False

    @property
    def usable(self) -> bool:
        """Whether it can be used here and now: not closed, not inherited by a fork."""
        return not self.core.closed and self.core.pid == os.getpid()

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of a prompt's tokens, special ones included."""
        body = {"content": text, "add_special": True, "parse_special": True}
        answer = self.core.address.request("/tokenize", body)
        tokens: list[int] = answer["tokens"]  # type: ignore[call-overload]
        return tokens

    def begins_with(self, bos: str) -> bool:
        """Whether the engine itself puts this BOS token before each prompt."""
        if bos not in self._begins:
            self._begins[bos] = len(self.tokenize(bos)) > 1
        return self._begins[bos]

    def slots(self) -> list[dict[str, Any]]:
        """Return what the engine says about its slots, their last parameters included."""
        return self.core.address.request("/slots")  # type: ignore[return-value]


def engine_for(settings: Settings) -> Engine:
    """Return the engine of these settings, loaded now if it is the first use.

    Raises:
        MissingExtraError: `xllamacpp` is not installed.
        ValueError: llama.cpp cannot load the file.
    """
    with _registry_lock:
        lock = _loading.setdefault(settings, threading.Lock())
    with lock:
        engine = _engines.get(settings)
        if engine is None or not engine.usable:
            engine = _engines[settings] = Engine(settings)
        return engine


def available_cores() -> int:
    """Return how many physical cores this process may use: more threads make llama.cpp slower."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = set()
    for cpu in os.sched_getaffinity(0):
        with contextlib.suppress(OSError):
            topology = f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
            with open(topology, encoding="ascii") as file:
                cores.add(file.read())
    return len(cores) or len(os.sched_getaffinity(0))


def _load(settings: Settings, address: Address) -> Any:
    try:
        import xllamacpp
    except ImportError as error:
        if error.name != "xllamacpp":
            raise
        raise MissingExtraError("LlamaCpp", "llama-cpp") from error
    llama_fork.prepare(xllamacpp.xllamacpp.__file__)
    params = xllamacpp.CommonParams()
    params.model.path = settings.path
    params.n_parallel = settings.n_parallel
    params.n_ctx = settings.n_ctx * settings.n_parallel  # the engine's is the total of all slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.n_threads
    # The engine looks at a cancelled request between two batches: a small one frees a slot fast.
    params.n_batch = params.n_ubatch = settings.n_batch
    if settings.n_gpu_layers is not None:
        params.n_gpu_layers = settings.n_gpu_layers
        params.fit_params = False
    params.verbosity = _verbosity()
    params.ui = False
    params.cache_ram_mib = 0  # by default it keeps up to 8 GB of old prompts
    params.slot_save_path = os.path.join(address.folder, "")
    params.hostnames = [address.host]
    params.api_keys = [address.key]
    params.n_threads_http = 4
    begin = time.perf_counter()
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        raise ValueError(
            f"llama.cpp cannot load {settings.path!r} ({error}). Its architecture may be unknown "
            "to this version, or memory too small; the engine's own words: "
            "logging.getLogger('langchain_wrap.llama_cpp').setLevel('INFO')"
        ) from error
    # A server that is freed before its first request may hang: give it one.
    server.handle_completions({"prompt": "a", "max_tokens": 1, "cache_prompt": False})
    address.url = "" if address.unix else server.listening_address
    logger.info("loaded %s in %.2f s: %s", settings.path, time.perf_counter() - begin, settings)
    return server


def _verbosity() -> int:
    """Map the logger's level to the engine's: it writes to stderr itself, or not at all."""
    if logger.isEnabledFor(logging.DEBUG):
        return 4
    return 3 if logger.isEnabledFor(logging.INFO) else -1


_cores: set[Core] = set()
_engines: weakref.WeakValueDictionary[Settings, Engine] = weakref.WeakValueDictionary()
_loading: dict[Settings, threading.Lock] = {}
_registry_lock = threading.RLock()


def _retire(core: Core) -> None:
    core.close()
    # Its threads end at their next step. One that was still inside of the engine when the
    # interpreter ends would crash it, so until then the core is known for the end.
    for ended in [known for known in list(_cores) if known.closed and not known.live]:
        _cores.discard(ended)


@atexit.register
def _close_all() -> None:
    for core in list(_cores):
        core.close(_EXIT_PATIENCE)


def _after_fork() -> None:
    global _registry_lock
    _registry_lock = threading.RLock()
    _loading.clear()
    for core in _cores:
        core.abandon()
    _cores.clear()
    _engines.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
