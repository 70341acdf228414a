"""Programs for the tests of `Command`, and what is left of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from langchain_wrap.models import Command

WORDS = """\
import sys, time
for word in sys.argv[1].split():
    sys.stdout.write(word + " ")
    sys.stdout.flush()
    time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 0)
"""
UPPER = "import sys; sys.stdout.write(sys.stdin.read().upper())"
READY = "import sys; sys.stdout.write('ready'); sys.stdout.flush()\n"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
SERVE = """\
import json, os, sys, time
def say(**answer):
    sys.stdout.write(json.dumps(answer) + "\\n")
    sys.stdout.flush()
for line in sys.stdin:
    request = json.loads(line)
    prompt = request["prompt"]
    if prompt == "die":
        sys.exit("I am dying")
    if prompt == "bad":
        say(error="no such thing")
        continue
    if prompt == "babble":
        print("hello", flush=True)
        continue
    if prompt == "half":
        say(text="some ")
        sys.stdout.write('{"text": "wor')
        sys.stdout.flush()
        time.sleep(600)
    if prompt == "closes":
        say(text="some ")
        os.close(1)
        time.sleep(600)
    for word in prompt.split():
        say(text=word + " ")
    if prompt in ("chatter", "blank"):  # in one piece with what follows
        more = "\\n" if prompt == "blank" else json.dumps({"text": "late"}) + "\\n"
        sys.stdout.write(json.dumps({"done": True, "pid": os.getpid()}) + "\\n" + more)
        sys.stdout.flush()
        continue
    say(done=True, finish_reason="stop", pid=os.getpid(), params=request["params"],
        stops=request["stop"])
    if prompt == "late":
        time.sleep(0.2)
        say(text="late")
    if prompt == "leaves":
        sys.exit()
"""

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


def python(code: str, *arguments: str, **fields: object) -> Command:
    return Command([sys.executable, "-c", code, *arguments], **fields)


def words(*arguments: str, **fields: object) -> Command:
    return python(WORDS, "{prompt}", *arguments, **fields)


def serve(**fields: object) -> Command:
    return python(SERVE, persistent=True, **fields)


def children() -> set[int]:
    """The child processes of this one, zombies included."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == os.getpid():
            found.add(int(stat.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
