"""The models of this package, over servers and programs of the tests."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from langchain_core.language_models.llms import BaseLLM
from servers import KEY, MODEL, apart

from langchain_wrap.models import Command, HTTPEndpoint

ONCE = """\
import sys, time
for number, word in enumerate(sys.stdin.read().split()):
    print(word, end=" ", flush=True)
    if number < 50:  # one by one, as a model writes, but for a prompt of 50,000 characters
        time.sleep(0.002)
"""
FOREVER = """\
import json, sys
for line in sys.stdin:
    for word in json.loads(line)["prompt"].split():
        print(json.dumps({"text": word + " "}), flush=True)
    print(json.dumps({"done": True}), flush=True)
"""

Makers = dict[str, Callable[[], BaseLLM]]


@contextmanager
def built_in() -> Iterator[Makers]:
    """Ways to make each model, by name, as long as the servers run that some talk to."""
    with apart("openai") as openai, apart("ollama") as ollama:
        base = f"{openai.url}/v1"
        yield {
            "HTTPEndpoint.openai": lambda: HTTPEndpoint.openai(base, MODEL, api_key=KEY),
            "HTTPEndpoint.ollama": lambda: HTTPEndpoint.ollama(ollama.url, MODEL),
            "HTTPEndpoint": lambda: HTTPEndpoint(
                f"{base}/completions",
                api_key=KEY,
                body={"model": MODEL, "prompt": "{prompt}", "stop": "{stop}"},
                text="choices[0].text",
                stream={
                    "format": "sse",
                    "body": {"stream": True},
                    "text": "choices[0].text",
                    "done": "[DONE]",
                },
            ),
            "Command": lambda: Command([sys.executable, "-c", ONCE]),
            "Command(persistent=True)": lambda: Command(
                [sys.executable, "-c", FOREVER], persistent=True
            ),
        }


@contextmanager
def smollm2() -> Iterator[Makers]:
    """The two that run a model themselves, with the same small model, where they are installed."""
    made: Makers = {}
    if importlib.util.find_spec("xllamacpp") is not None:
        from langchain_wrap.models import LlamaCpp

        llama = LlamaCpp(model_path="smollm2", temperature=0, max_tokens=16)
        llama.invoke("a", max_tokens=1)  # loading a model is no part of a check
        made["LlamaCpp"] = lambda: llama
    if importlib.util.find_spec("torch") is not None:
        from langchain_wrap.models import Transformers

        torch = Transformers(model="smollm2", temperature=0, max_new_tokens=16)
        torch.invoke("a", max_new_tokens=1)
        made["Transformers"] = lambda: torch
    yield made
