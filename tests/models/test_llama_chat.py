"""What `LlamaCpp` tells chat about its model, and that no prompt gets two BOS tokens."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from llama_helpers import ENGINE

from langchain_wrap.chat.history import as_dicts
from langchain_wrap.chat.template import ChatTemplate
from langchain_wrap.models.llama_cpp import LlamaCpp
from langchain_wrap.models.llama_gguf import read_gguf

BOS = "<|im_start|>"
MESSAGES = as_dicts([SystemMessage("Be brief."), HumanMessage("Hi")])
PROMPT = (
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\n"
)


def own_template(llm: LlamaCpp) -> ChatTemplate:
    source = llm._chat_template()
    assert source is not None
    return ChatTemplate(source, special_tokens=llm._special_tokens())


def test_hooks(llm: LlamaCpp) -> None:
    assert llm._special_tokens() == {
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|im_end|>",
    }
    template = own_template(llm)
    assert template.stops == ("<|im_end|>",)
    assert not template.takes_tools
    assert template.render(MESSAGES) == PROMPT
    schema = {"type": "integer"}
    assert schema.items() <= llm._schema_parameters(schema)["json_schema"].items()
    assert llm.invoke("One and one is ", **llm._schema_parameters(schema)).strip("-").isdigit()


def test_the_engine_renders_the_same(llm: LlamaCpp) -> None:
    answer: Any = llm._engine().core.address.request("/apply-template", {"messages": MESSAGES})
    assert own_template(llm).render(MESSAGES) == answer["prompt"]


def test_a_model_that_adds_no_bos_keeps_that_of_the_prompt(llm: LlamaCpp) -> None:
    tokens = llm._tokenize(PROMPT)
    assert tokens == llm._engine().tokenize(PROMPT)
    assert tokens[0] == llm._tokenize(BOS)[0] == 1
    assert tokens.count(1) == 3


@pytest.fixture(scope="module")
def adding(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> LlamaCpp:
    """The same model, told by its file to begin each prompt with a BOS token."""
    path = tmp_path_factory.mktemp("bos") / "adding.gguf"
    shutil.copyfile(model_file, path)
    key = b"tokenizer.ggml.add_bos_token"
    with path.open("r+b") as file:
        at = file.read(1_000_000).index(key) + len(key) + 4
        file.seek(at)
        assert file.read(1) == b"\0"
        file.seek(at)
        file.write(b"\1")
    return LlamaCpp(model_path=str(path), temperature=0, max_tokens=4, **ENGINE)


def test_a_model_that_adds_bos_gets_one(adding: LlamaCpp) -> None:
    assert adding._tokenize("Hi") == [1, *adding._engine().tokenize("Hi")[1:]]
    assert adding._engine().tokenize(PROMPT)[:2] == [1, 1]  # what the engine by itself does
    tokens = adding._tokenize(PROMPT)
    assert tokens == adding._engine().tokenize(PROMPT)[1:]
    assert tokens.count(1) == 3
    assert adding.get_num_tokens(PROMPT) == len(tokens)
    usage = adding.generate([PROMPT]).generations[0][0].generation_info
    assert usage is not None
    assert usage["token_usage"]["prompt_tokens"] == len(tokens)


# The header alone


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def header(path: Path, **metadata: Any) -> Path:
    """Write a file of metadata only; double underscores in names stand for dots."""
    body = b""
    for name, value in metadata.items():
        body += text(name.replace("__", "."))
        if isinstance(value, bool):
            body += struct.pack("<I?", 7, value)
        elif isinstance(value, int):
            body += struct.pack("<II", 4, value)
        elif isinstance(value, list):
            body += struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
        else:
            body += struct.pack("<I", 8) + text(value)
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, len(metadata)) + body + bytes(64))
    return path


def test_special_tokens_of_a_large_vocabulary(tmp_path: Path) -> None:
    found = read_gguf(
        header(
            tmp_path / "m.gguf",
            tokenizer__ggml__bos_token_id=9000,  # before the vocabulary and past many of it
            tokenizer__ggml__tokens=[f"<{number}>" for number in range(10_000)],
            tokenizer__ggml__eos_token_id=4096,
            tokenizer__ggml__padding_token_id=10_000,  # there is none
            tokenizer__ggml__add_bos_token=True,
            tokenizer__chat_template="{{ 'ä' }}",
        )
    )
    assert found.vocabulary == 10_000
    assert found.special_tokens == {"bos_token": "<9000>", "eos_token": "<4096>"}
    assert found.chat_template == "{{ 'ä' }}"


def test_llamas_own_tokenizer_has_default_ids(tmp_path: Path) -> None:
    tokens = ["<unk>", "<s>", "</s>", b"\xff"]
    found = read_gguf(
        header(
            tmp_path / "m.gguf",
            tokenizer__ggml__model="llama",
            tokenizer__ggml__tokens=tokens,
            tokenizer__ggml__padding_token_id=3,  # half a character is no text
        )
    )
    assert found.special_tokens == {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }


@pytest.mark.parametrize("metadata", [{}, {"tokenizer__chat_template": " "}])
def test_a_file_without_a_template(tmp_path: Path, metadata: dict[str, Any]) -> None:
    path = header(tmp_path / "m.gguf", **metadata)
    assert read_gguf(path).chat_template is None
    assert read_gguf(path).special_tokens == {}
    assert LlamaCpp(model_path=path)._chat_template() is None


def test_an_object_without_content_is_written_in_one_line(llm: LlamaCpp) -> None:
    nothing = {"type": "object", "properties": {}, "additionalProperties": False}
    held = llm._schema_parameters(nothing)
    assert llm.invoke("The empty object: ", **held) == "{}"
