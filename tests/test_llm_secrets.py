"""A key appears in nothing that leaves the model, wherever it was put in."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import pickle
import urllib.error
from typing import Any, NamedTuple

import pytest
from langchain_core.load import dumpd, dumps
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from pydantic import BaseModel, SecretStr
from scripted import PATHS, Recorder

from langchain_wrap import LLM

KEY = "sk-Zx9-very-secret"
DIRECT = [path for path in PATHS if path != "astream_events"]


class Keyed(LLM):
    api_key: SecretStr
    fail: bool = False

    def _stream(self, prompt, **kwargs):
        key = self.api_key
        assert (key if isinstance(key, str) else key.get_secret_value()) == KEY
        yield "o"
        if self.fail:
            raise ZeroDivisionError(f"the service refused {KEY}")
        yield "k"


class Plain(Keyed):
    api_key: str


class Headers(Keyed):
    api_key: str = KEY
    headers: dict[str, str] = {"X-Custom": KEY, "Authorization": f"Bearer {KEY}"}  # noqa: RUF012


class InUrl(Keyed):
    api_key: SecretStr = SecretStr(KEY)
    base_url: str = f"https://user:{KEY}@example.org/v1?api_key={KEY}&x=1"


class Nested(Keyed):
    model_kwargs: dict[str, Any] = {"auth": {"api_key": KEY}, "n": 1}  # noqa: RUF012


MODELS = [
    lambda **more: Keyed(api_key=KEY, **more),
    lambda **more: Plain(api_key=KEY, **more),
    lambda **more: Headers(**more),
    lambda **more: InUrl(**more),
    lambda **more: Nested(api_key=KEY, **more),
]
CALL_PARAMETERS = [
    {},
    {"api_key": KEY},
    {"headers": {"X-Api-Key": KEY}},
    {"extra_headers": {"Authorization": f"Bearer {KEY}"}},
    {"options": {"token": KEY}},
    {"url": f"https://example.org/?key={KEY}"},
]


def everything(thing: Any, depth: int = 0) -> str:
    """All text that can be found in a thing, but for what pydantic keeps as a secret."""
    if isinstance(thing, SecretStr) or depth > 6:
        return repr(thing)
    if isinstance(thing, dict):
        return " ".join(everything(x, depth + 1) for pair in thing.items() for x in pair)
    if isinstance(thing, list | tuple | set):
        return " ".join(everything(x, depth + 1) for x in thing)
    own = everything(vars(thing), depth + 1) if hasattr(thing, "__dict__") else ""
    return f"{thing!r} {thing!s} {own}"


@pytest.mark.parametrize("make", MODELS)
def test_no_printed_form_shows_it(make):
    llm = make()
    forms = [repr(llm), str(llm), f"{llm!r:s}", dumps(llm)]
    forms += [str(x) for x in (llm.asdict(), dumpd(llm), llm._identifying_params, llm.to_json())]
    forms += [repr(llm.bind(stop=["x"])), repr(llm.with_config(tags=["t"])), repr(llm | llm)]
    for form in forms:
        assert KEY not in form


@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("call", CALL_PARAMETERS, ids=str)
@pytest.mark.parametrize("make", MODELS)
def test_no_listener_is_told_it(make, call, fail):
    for path in DIRECT:
        recorder, collector = Recorder(), RunCollectorCallbackHandler()
        config = {"callbacks": [recorder, collector]}
        try:
            PATHS[path](make(fail=fail), "p", config, **call)
        except ZeroDivisionError as error:
            assert fail
            assert KEY not in everything(error)  # noqa: PT017
        assert recorder.names[0] == "start"
        assert collector.traced_runs
        assert KEY not in everything(recorder.payloads)
        for run in collector.traced_runs:
            assert KEY not in everything([run.inputs, run.outputs, run.extra, run.serialized])
            assert KEY not in str(run.error)
            assert (run.error is not None) == fail or "batch" in path


@dataclasses.dataclass
class DataOptions:
    api_key: str = KEY


class ModelOptions(BaseModel):
    api_key: str = KEY


class TupleOptions(NamedTuple):
    api_key: str = KEY


@pytest.mark.parametrize(
    "options",
    [DataOptions(), ModelOptions(), TupleOptions(), {"inner": [DataOptions()]}],
    ids=lambda options: type(options).__name__,
)
class TestAKeyInsideAnObject:
    class Holding(LLM):
        options: Any = None

        def _call(self, prompt, **kwargs):
            if prompt == "bad":
                raise ValueError(f"refused {self.options} {kwargs}")
            return prompt

    def test_is_not_printed(self, options):
        llm = self.Holding(options=options)
        for form in (repr(llm), str(llm), str(llm.asdict()), str(dumpd(llm)), dumps(llm)):
            assert KEY not in form

    @pytest.mark.parametrize("prompt", ["good", "bad"])
    def test_is_told_to_no_listener(self, options, prompt):
        for llm, call in ((self.Holding(options=options), {}), (self.Holding(), {"o": options})):
            recorder = Recorder()
            try:
                llm.invoke(prompt, {"callbacks": [recorder]}, **call)
            except ValueError as error:
                assert prompt == "bad"
                assert KEY not in str(error)  # noqa: PT017
            assert KEY not in str(recorder.payloads)

    def test_reaches_the_model(self, options):
        given = []

        class Noting(LLM):
            def _call(self, prompt, *, o):
                given.append(o)
                return prompt

        Noting().invoke("p", o=options)
        assert given[0] is options


async def test_no_event_shows_it():
    llm = Keyed(api_key=KEY)
    config = {"metadata": {"api_key": KEY, "kept": 1}}
    async for event in llm.astream_events("p", config, version="v2", api_key=KEY):
        assert KEY not in str(event)


def test_metadata_of_the_model_is_masked_too():
    recorder = Recorder()
    llm = Keyed(api_key=KEY, metadata={"api_key": KEY, "team": "a"})
    llm.invoke("p", {"callbacks": [recorder]})
    assert KEY not in everything(recorder.payloads)
    assert "team" in everything(recorder.payloads)


def test_the_model_itself_gets_the_real_thing():
    class Echoing(LLM):
        def _call(self, prompt, **kwargs):
            given.update(kwargs)
            return prompt

    given: dict[str, Any] = {}
    Echoing().invoke("p", api_key=KEY, headers={"Authorization": KEY})
    assert given == {"api_key": KEY, "headers": {"Authorization": KEY}}
    assert pickle.loads(pickle.dumps(Keyed(api_key=KEY))).api_key.get_secret_value() == KEY


class Slotted(Exception):
    __slots__ = ("message",)

    def __init__(self, message):
        self.message = message

    def __str__(self):
        return self.message


class Response:
    def __init__(self):
        self.text = f"401 {KEY}"


def _errors():
    noted = ValueError("noted")
    noted.add_note(f"the key was {KEY}")
    caused = ValueError("outer")
    caused.__cause__ = ValueError(f"inner {KEY}")
    attributed = ValueError("attributed")
    attributed.detail = {"key": [KEY]}
    return [
        ValueError(KEY),
        ValueError("x", KEY),
        ValueError(ValueError(KEY)),
        ValueError(KEY.encode()),
        ValueError({"headers": {"Authorization": f"Bearer {KEY}"}}),
        KeyError(KEY),
        OSError(13, f"denied {KEY}"),
        FileNotFoundError(2, "no such file", f"/keys/{KEY}"),
        ConnectionError(f"refused {KEY}"),
        urllib.error.URLError(OSError(1, f"x {KEY}")),
        ImportError(f"no module {KEY}", name=KEY),
        SyntaxError(f"bad {KEY}"),
        UnicodeDecodeError("utf-8", KEY.encode(), 0, 1, f"bad {KEY}"),
        ExceptionGroup(f"many {KEY}", [ValueError(KEY)]),
        Slotted(KEY),
        noted,
        caused,
        attributed,
    ]


@pytest.mark.parametrize("index", range(len(_errors())))
@pytest.mark.parametrize("path", ["invoke", "astream"])
def test_no_error_text_shows_it(path, index):
    import traceback

    error = _errors()[index]

    class Raising(LLM):
        api_key: SecretStr

        def _call(self, prompt):
            raise error

    recorder = Recorder()
    llm = Raising(api_key=KEY)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        PATHS[path](llm, "p", {"callbacks": [recorder]})
    shown = "".join(traceback.format_exception(caught.value))
    assert KEY not in shown + repr(caught.value) + str(caught.value)
    assert KEY not in everything(recorder.payloads)


def test_the_kind_of_an_error_is_kept():
    class Raising(LLM):
        api_key: SecretStr

        def _call(self, prompt):
            raise FileNotFoundError(2, "no such file", "/tmp/x")

    with pytest.raises(FileNotFoundError, match="/tmp/x") as caught:
        Raising(api_key=KEY).invoke("p")
    assert caught.value.errno == 2


def test_no_log_line_shows_it(caplog):
    class Grumpy(LLM):
        api_key: SecretStr

        def _stream(self, prompt):
            try:
                yield "a"
                yield "b"
            finally:
                raise ZeroDivisionError(f"closing {self.api_key.get_secret_value()}")

    with caplog.at_level(logging.DEBUG):
        stream = Grumpy(api_key=KEY).stream("p")
        next(stream)
        stream.close()

        async def leave():
            stream = Grumpy(api_key=KEY).astream("p")
            await anext(stream)
            await stream.aclose()

        asyncio.run(leave())
    formatted = caplog.text + "".join(str(record.exc_text) for record in caplog.records)
    assert KEY not in formatted


def test_a_wrong_field_does_not_show_its_value():
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Keyed(api_key=KEY, api_kee=KEY)
    assert KEY not in str(caught.value)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Keyed(api_key={"wrong": KEY})
    assert KEY not in str(caught.value)


def test_what_is_no_secret_stays_readable():
    class Model(LLM):
        max_tokens: int = 5
        eos_token: str = "</s>"
        base_url: str = "https://example.org/v1?x=1"
        tokenizer: str = "bpe"

        def _call(self, prompt):
            return prompt

    shown = repr(Model()) + str(Model())
    for part in ("max_tokens", "</s>", "https://example.org/v1?x=1", "bpe"):
        assert part in shown


def test_a_key_in_an_error_about_a_wrong_type_is_masked():
    class Leaky(LLM):
        api_key: SecretStr

        def _call(self, prompt):
            return [self.api_key.get_secret_value()]

    with pytest.raises(TypeError) as caught:
        Leaky(api_key=KEY).invoke("p")
    assert KEY not in str(caught.value)
