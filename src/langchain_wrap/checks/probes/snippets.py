"""Pieces of the scripts that show a failure without the kit."""

from __future__ import annotations

from langchain_core.language_models.llms import BaseLLM

from langchain_wrap.checks.probes.spy import authored
from langchain_wrap.contract import Contract

LISTENER = """\
from langchain_core.callbacks import BaseCallbackHandler


class Listener(BaseCallbackHandler):
    def __init__(self):
        self.seen, self.chunks, self.ends = [], [], []

    def on_llm_start(self, serialized, prompts, *, run_id, **kwargs):
        self.seen.append(("start", run_id, prompts[0]))

    def on_llm_new_token(self, token, *, run_id, chunk=None, **kwargs):
        self.seen.append(("token", run_id, token))
        self.chunks.append(chunk)

    def on_llm_end(self, response, *, run_id, **kwargs):
        self.seen.append(("end", run_id, response.generations[0][0].text))
        self.ends.append(response.generations[0][0])

    def on_llm_error(self, error, *, run_id, **kwargs):
        self.seen.append(("error", run_id, repr(error)))

    def of(self, name):
        return [what for kind, _, what in self.seen if kind == name]


listener = Listener()"""
"""Defines `listener`, whose `seen` holds (name, run id, text) of each callback."""

LISTENING = "{'callbacks': [listener]}"


def broken(llm: BaseLLM) -> str:
    """Return lines that define `Broken`, and have each method of the model's author raise it."""
    if isinstance(llm, Contract):
        put = 'llm.__dict__["_method"] = lambda name: broken'
    else:
        names = ", ".join(repr(name) for name in authored(llm))
        put = f"for name in ({names},):\n    llm.__dict__[name] = broken"
    return f"""\
class Broken(Exception):
    pass


def broken(*args, **kwargs):
    raise Broken("the model is broken")


{put}"""
