"""langchain-tests' own tests of chat models, with all features declared on.

Every test runs, on the model that the class names or, where a table says why, on a scripted one
behind the same class of LLMs.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from chat_scripted import KEY, Call, Script, ScriptedLlama, serving
from langchain_core.exceptions import OutputParserException

pytest.importorskip("langchain_tests")
pytest.importorskip("jsonschema")
pytest.importorskip("xllamacpp")

import langchain_tests
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_wrap import wrap
from langchain_wrap.chat.adapter import LLMChat
from langchain_wrap.models import HTTPEndpoint, LlamaCpp

# langchain-tests' test of time measures only what it plays back from a recording.
pytestmark = pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")

NO_FILES = dict.fromkeys(
    ("test_image_inputs", "test_image_tool_message", "test_pdf_inputs", "test_pdf_tool_message",
     "test_audio_inputs"),
    "the models take text",
)  # fmt: skip
NO_SERDES = {"test_serdes": "a custom LLM has no place in langchain-core's list of classes"}
NO_ENV = {"test_init_from_env": "no field is read from the environment"}

NO_WIT = {
    "test_agent_loop": "nothing but its own judgement makes the model call the tool",
    "test_json_mode": "nothing but the prompt says which keys the object has",
    "test_unicode_tool_call_integration": "it has to copy Chinese and Japanese names",
}
"""What SmolLM2, of 135 million parameters, is too small for; see `test_success_rate`."""

ONE_MODEL = dict.fromkeys(
    ("test_invoke_with_model_override", "test_ainvoke_with_model_override",
     "test_stream_with_model_override", "test_astream_with_model_override"),
    "LlamaCpp and llama.cpp's server run the model of their file: there is no other to ask for",
)  # fmt: skip

ANSWERS: dict[str, str | Call] = {
    "": "Hello, how are you today?",
    "Hello!": Call.of("magic_function", input=1),
    "magic_function(3)": Call.of("magic_function", input=3),
    "magic_function_no_args()": Call.of("magic_function_no_args"),
    "Pirate greeting": Call.of("greeting_generator", answer_style="pirate"),
    "What is 3 + 4": Call.of("my_adder_tool", a=3, b=4),
    "San Francisco": Call.of("get_weather", location="San Francisco, CA"),
    "It's sunny": "It is sunny in San Francisco.",
    "你好啊集团": Call.of("unicode_customer", customer_name="你好啊集团", description="技术"),
    "こんにちは": Call.of("unicode_customer", customer_name="こんにちは", description="会社"),
    "joke about cats": '{"setup": "Why do cats purr?", "punchline": "They have no horn."}',
}
"""What langchain-tests asks, and what a model with some wit says."""


class AsChat:
    """What langchain-tests takes for the class of the model: `as_chat()`, with fields for both."""

    is_lc_serializable = LLMChat.is_lc_serializable

    def __init__(self, make: Callable[..., Any], **fields: Any) -> None:
        self.make = partial(make, **fields)

    def __call__(self, **fields: Any) -> LLMChat:
        names = [name for name in ("output_version", "streaming") if name in fields]
        of_chat = {name: fields.pop(name) for name in names}
        return self.make(**fields).as_chat(**of_chat)


class Features:
    """All that can be declared of a model that takes text."""

    has_tool_calling = has_tool_choice = has_structured_output = supports_json_mode = True
    returns_usage_metadata = supports_anthropic_inputs = supports_model_override = True
    model_override_value = "another-1"
    enable_vcr_tests = True

    may_skip: Mapping[str, str] = NO_FILES


class Unit(Features):
    may_skip = NO_SERDES | NO_ENV
    takes_key = False

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        params = super().standard_chat_model_params  # type: ignore[misc]
        return params if self.takes_key else {k: v for k, v in params.items() if k != "api_key"}


class Local(Features):
    """With a model on this machine; `stand_in` runs the tests of the table `scripted`."""

    scripted: Mapping[str, str] = NO_WIT
    stand_in: AsChat

    def sampling(self, test: str) -> dict[str, Any]:
        """Short answers; where it may say what it likes, SmolLM2 needs a penalty to end."""
        if "structured_output" in test or "runnables" in test:
            return {"temperature": 0, "max_tokens": 100, "repeat_penalty": 1.1}
        return {
            "temperature": 0,
            "max_tokens": 48 if "tool_c" in test or "few_shot" in test else 16,
        }

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest) -> LLMChat:
        extra = getattr(request, "param", None) or {}
        name = request.node.originalname
        if name in self.scripted:
            return self.stand_in(temperature=0, **extra)
        return self.chat_model_class(**self.sampling(name), **extra)  # type: ignore[attr-defined,no-any-return]


# --- a plain function ---------------------------------------------------------------------------


def function(temperature: float = 0.5, max_tokens: int | None = None, **fields: Any) -> Any:
    script = partial(Script(ANSWERS).__call__, temperature=temperature, max_tokens=max_tokens)
    return wrap(script, name="scripted", **fields)


class TestFunctionUnit(Unit, ChatModelUnitTests):
    chat_model_class = AsChat(function)  # type: ignore[assignment]


class TestFunction(Features, ChatModelIntegrationTests):
    chat_model_class = AsChat(function)  # type: ignore[assignment]


# --- LlamaCpp -----------------------------------------------------------------------------------

ENGINE = {"n_ctx": 1024, "n_parallel": 2, "n_threads": 1}


class TestLlamaUnit(Unit, ChatModelUnitTests):
    chat_model_class = AsChat(LlamaCpp, model_path="smollm2")  # type: ignore[assignment]


class TestLlama(Local, ChatModelIntegrationTests):
    chat_model_class = AsChat(LlamaCpp, **ENGINE)  # type: ignore[assignment]
    stand_in = AsChat(ScriptedLlama, answers=ANSWERS, **ENGINE)
    scripted = NO_WIT | ONE_MODEL


# --- HTTPEndpoint -------------------------------------------------------------------------------


def endpoint(url: str, model: str = "any", **fields: Any) -> HTTPEndpoint:
    names = ("temperature", "max_tokens", "repeat_penalty", "seed")
    params = {name: fields.pop(name) for name in names if name in fields}
    given = {"api_key": KEY, "trust_env": False, **fields}
    return HTTPEndpoint.openai(url, model, params=params, **given)


WITHOUT_TOOLS = {"native": ["json_schema"]}


class TestEndpointUnit(Unit, ChatModelUnitTests):
    chat_model_class = AsChat(endpoint, url="http://127.0.0.1:9/v1")  # type: ignore[assignment]
    takes_key = True
    init_from_env_params = ({"OUR_KEY": KEY}, {"api_key": None, "api_key_env": "OUR_KEY"}, {})
    may_skip = NO_SERDES


@pytest.fixture(scope="module")
def scripted_server() -> Iterator[str]:
    with serving(ANSWERS) as server:
        yield server.url


class TestEndpoint(Local, ChatModelIntegrationTests):
    """Chat and schemas are the server's; tools are ours: SmolLM2's template has no place for them,
    and llama.cpp's server then passes over them.
    """

    scripted = NO_WIT | ONE_MODEL

    @pytest.fixture(autouse=True)
    def servers(self, smollm2_server: str, scripted_server: str) -> None:
        self.url = smollm2_server
        self.stand_in = AsChat(endpoint, url=scripted_server)

    @property
    def chat_model_class(self) -> Any:
        return AsChat(endpoint, url=self.url, chat=WITHOUT_TOOLS)


class TestEndpointTools(Features, ChatModelIntegrationTests):
    """All is the server's, tools too."""

    @pytest.fixture(autouse=True)
    def servers(self, scripted_server: str) -> None:
        self.url = scripted_server

    @property
    def chat_model_class(self) -> Any:
        return AsChat(endpoint, url=self.url)


# --- how often SmolLM2 has the wit ----------------------------------------------------------------

RUNS = int(os.environ.get("LANGCHAIN_WRAP_WIT_RUNS", "1"))
THEIRS = str(Path(next(iter(langchain_tests.__path__))))


def of_wit(error: Exception) -> bool:
    """Whether it is what the model has said that is wrong."""
    if isinstance(error, OutputParserException):
        return True
    last = traceback.extract_tb(error.__traceback__)[-1]
    return isinstance(error, AssertionError) and last.filename.startswith(THEIRS)


@pytest.mark.parametrize("backend", ["LlamaCpp", "HTTPEndpoint"])
def test_success_rate(
    backend: str, smollm2_server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """SmolLM2 on the tests that run on a script above: no failure is one of ours."""
    local = AsChat(LlamaCpp, **ENGINE)
    make = (
        local if backend == "LlamaCpp" else AsChat(endpoint, url=smollm2_server, chat=WITHOUT_TOOLS)
    )
    tests = TestFunction()
    lines = []
    for name in [*NO_WIT, "test_tool_calling"]:
        passed = 0
        for seed in range(RUNS):
            try:
                getattr(tests, name)(make(temperature=0.4, seed=seed, max_tokens=100))
            except (AssertionError, OutputParserException) as error:
                if not of_wit(error):
                    raise
            else:
                passed += 1
        lines.append(f"{passed}/{RUNS} {name}")
    with capsys.disabled():
        print(f"\nSmolLM2 by {backend} passes: {', '.join(lines)}")
