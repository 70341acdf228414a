"""Mutants of RESOURCE. What they leave behind ends by itself, for the sake of the test run."""

from __future__ import annotations

import asyncio
import os
import queue
import subprocess
import threading
from typing import IO, Any

from langchain_core.outputs import GenerationChunk

from mutants.mutant import Mutant
from mutants.right import Core, pieces

SECONDS = 20

_tasks: set[asyncio.Task[None]] = set()
_files: list[IO[str]] = []
_processes: list[subprocess.Popen[bytes]] = []


class LeavesAThread(Core):
    """Starts a watch for each call, and never ends it."""

    def _call(self, prompt, stop=None, run_manager=None, **kwargs):
        threading.Thread(target=threading.Event().wait, args=(SECONDS,), daemon=True).start()
        return self.text(prompt, stop)


class LeavesATask(Core):
    """Reports in a task that nobody awaits."""

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        _tasks.add(asyncio.create_task(asyncio.sleep(SECONDS)))
        return self.text(prompt, stop)


class LeavesAFile(Core):
    """Opens a log for each call."""

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        _files.append(open(os.devnull))  # noqa: SIM115
        return self.text(prompt, stop)


class LeavesAProcess(Core):
    """Asks a program, and does not wait for its end."""

    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        _processes.append(subprocess.Popen(["sleep", "1"]))
        yield from super()._stream(prompt, stop=stop, run_manager=run_manager, **kwargs)


class PumpsIntoAFullQueue(Core):
    """Reads its stream in a thread that waits for a reader who has gone."""

    def _stream(self, prompt, stop=None, run_manager=None, **kwargs):
        made: queue.Queue[Any] = queue.Queue(maxsize=1)

        def pump() -> None:
            try:
                for piece in pieces(self.text(prompt, stop)) or [""]:
                    made.put(piece, timeout=SECONDS)
                made.put(None, timeout=SECONDS)
            except queue.Full:
                pass

        thread = threading.Thread(target=pump, daemon=True)
        thread.start()
        while (piece := made.get()) is not None:
            chunk = GenerationChunk(text=piece)
            if run_manager:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk
        thread.join()


class LeavesItsHeartbeat(Core):
    """Ends its helper only if nothing goes wrong."""

    async def _acall(self, prompt, stop=None, run_manager=None, **kwargs):
        beat = asyncio.create_task(asyncio.sleep(SECONDS))
        _tasks.add(beat)
        for _ in range(8):
            await asyncio.sleep(0)
        beat.cancel()
        return self.text(prompt, stop)


MUTANTS = [
    Mutant("RESOURCE-01", LeavesAThread, Core),
    Mutant("RESOURCE-02", LeavesATask, Core, also=frozenset({"RESOURCE-06"})),
    Mutant("RESOURCE-03", LeavesAFile, Core, also=frozenset({"RESOURCE-06"})),
    Mutant("RESOURCE-04", LeavesAProcess, Core, also=frozenset({"RESOURCE-05"})),
    Mutant("RESOURCE-05", PumpsIntoAFullQueue, Core),
    Mutant("RESOURCE-06", LeavesItsHeartbeat, Core),
]
