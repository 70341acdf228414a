"""The local engine: `LlamaCpp.batch` against the same engine driven by hand.

By hand means `xllamacpp` itself, 16 threads that each ask for a whole completion (nothing is
streamed or counted), with the same number of slots and threads. Runs alone too:
`python -m benchmarks.llama_cpp [--quick]`.
"""

import http.client
import itertools
import json
import socket
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import xllamacpp

from benchmarks.measure import Row, in_turn, seconds
from langchain_wrap.models import LlamaCpp, weights
from langchain_wrap.models.llama_engine import available_cores

WORDS = [
    "cat",
    "dog",
    "tree",
    "house",
    "river",
    "king",
    "queen",
    "ship",
    "star",
    "stone",
    "book",
    "lamp",
    "road",
    "bird",
    "fish",
    "moon",
]
SHORT = [f"Write a story about a {word}. It began" for word in WORDS]
THINGS = "".join(
    f"Item {i} is a thing with number {i * 7 % 13} and colour {['red', 'green', 'blue'][i % 3]}. "
    for i in range(53)
)
"""798 tokens."""
N_CTX = 1024
_numbers = itertools.count(1)


def sharing() -> tuple[str, list[str]]:
    """A beginning that was never there before, and 16 prompts that have it."""
    prefix = f"List {next(_numbers)}. {THINGS}"
    return prefix, [f"{prefix}Question: what is a {word}?\nAnswer:" for word in WORDS]


class ByHand:
    """The engine without us."""

    def __init__(self, n_parallel: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="by-hand-")
        self._socket = str(Path(self._folder.name) / "s.sock")
        params = xllamacpp.CommonParams()
        params.model.path = str(weights.resolve(weights.DEFAULT))
        params.n_parallel, params.n_ctx = n_parallel, N_CTX * n_parallel
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = available_cores()
        params.n_batch = params.n_ubatch = 128
        params.cache_ram_mib = 0
        params.verbosity, params.ui = -1, False
        params.hostnames = [self._socket]
        params.slot_save_path = self._folder.name + "/"
        self._server = xllamacpp.Server(params)
        self._n_parallel = n_parallel
        self.ask("a", 1)

    def ask(self, prompt: str, tokens: int, **more: Any) -> None:
        body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
        answer = self._server.handle_completions({**body, **more})
        assert answer["usage"]["completion_tokens"] == tokens

    def all(self, prompts: list[str], tokens: int, **more: Any) -> None:
        with ThreadPoolExecutor(16) as threads:
            list(threads.map(lambda prompt: self.ask(prompt, tokens, **more), prompts))

    def all_after(self, prefix: str, prompts: list[str], tokens: int) -> None:
        """Its best setting for a shared beginning: computed once, saved, restored to all slots."""
        self.ask(prefix, 1, id_slot=0)
        self._slot(0, "save")
        for slot in range(1, self._n_parallel):
            self._slot(slot, "restore")
        self.all(prompts, tokens)

    def _slot(self, slot: int, action: str) -> None:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self._socket)
        connection.request("POST", f"/slots/{slot}?action={action}", json.dumps({"filename": "p"}))
        assert connection.getresponse().status == 200
        connection.close()


def ours(n_parallel: int, tokens: int, *, reuse: bool = True) -> LlamaCpp:
    return LlamaCpp(
        temperature=0,
        max_tokens=tokens,
        ignore_eos=True,
        n_ctx=N_CTX,
        n_parallel=n_parallel,
        cache_prompt=reuse,
    )


def throughput(n_parallel: int, repeats: int) -> Row:
    tokens = 64
    raw, llm = ByHand(n_parallel), ours(n_parallel, tokens, reuse=False)
    by_us, by_hand = in_turn(
        repeats,
        lambda: llm.batch(list(SHORT)),
        lambda: raw.all(SHORT, tokens, cache_prompt=False),
    )
    total = tokens * len(SHORT)
    return Row(
        f"LlamaCpp: batch of 16 prompts x 64 tokens, n_parallel={n_parallel}",
        ours=total / by_us,
        reference=total / by_hand,
        unit="tokens/s",
        against="the engine, 16 threads",
        goal="≥ 0.97",
        met=by_hand / by_us >= 0.97,
        higher_is_better=True,
    )


def shared_beginning(repeats: int) -> Iterator[Row]:
    tokens = 32
    raw, llm, alone = ByHand(4), ours(4, tokens), ours(4, tokens, reuse=False)
    by_us, by_hand = in_turn(
        repeats,
        lambda: llm.batch(list(sharing()[1])),
        lambda: raw.all_after(*sharing(), tokens),
    )
    total = tokens * len(WORDS)
    work = "LlamaCpp: 16 prompts x 32 tokens that share an 800-token prefix"
    yield Row(
        work,
        ours=total / by_us,
        reference=total / by_hand,
        unit="tokens/s",
        against="the engine, prefix saved and restored by hand",
        goal="≥ 0.95",
        met=by_hand / by_us >= 0.95,
        higher_is_better=True,
    )
    count = len(WORDS) if repeats > 1 else 4  # it takes a minute
    without = seconds(lambda: alone.batch(sharing()[1][:count]))
    yield Row(
        work,
        ours=total / by_us,
        reference=tokens * count / without,
        unit="tokens/s",
        against="LlamaCpp(cache_prompt=False)",
        goal="> 3",
        met=without / count > 3 * by_us / len(WORDS),
        higher_is_better=True,
    )


def rows(quick: bool = False) -> Iterator[Row]:
    for n_parallel in (4, 16):
        yield throughput(n_parallel, 1 if quick else 5)
    yield from shared_beginning(1 if quick else 3)


if __name__ == "__main__":
    for row in rows("--quick" in sys.argv):
        print(
            f"{row.work}: {row.ours:.1f} {row.unit}, {row.against}: {row.reference:.1f}; ", end=""
        )
        print(f"ratio {row.ratio:.3f}, goal {row.goal}, met: {row.met}", flush=True)
