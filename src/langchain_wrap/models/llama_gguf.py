"""GGUF files: enough of the header to refuse a broken file before the engine sees it.

And what it says about chat: the template and the texts of the special tokens.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
# Values in a block and bytes of a block; a type not listed counts as one byte.
_BLOCKS = {
    0: (1, 4),  # F32
    1: (1, 2),  # F16
    2: (32, 18),  # Q4_0
    3: (32, 20),  # Q4_1
    6: (32, 22),  # Q5_0
    7: (32, 24),  # Q5_1
    8: (32, 34),  # Q8_0
    10: (256, 84),  # Q2_K
    11: (256, 110),  # Q3_K
    12: (256, 144),  # Q4_K
    13: (256, 176),  # Q5_K
    14: (256, 210),  # Q6_K
    20: (32, 18),  # IQ4_NL
    23: (256, 136),  # IQ4_XS
    30: (1, 2),  # BF16
}
_TOKENS = "tokenizer.ggml.tokens"
# The texts that chat templates know, by the key of the token's id and, for files of llama's own
# tokenizer, which may leave it out, the id that llama.cpp takes then.
_SPECIAL = {
    "bos_token": ("tokenizer.ggml.bos_token_id", 1),
    "eos_token": ("tokenizer.ggml.eos_token_id", 2),
    "unk_token": ("tokenizer.ggml.unknown_token_id", 0),
    "pad_token": ("tokenizer.ggml.padding_token_id", None),
}
_STRIDE = 4096
_HEADER = struct.Struct("<4sIQQ")
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Gguf:
    """What the header of a model file says."""

    architecture: str
    context_length: int | None
    """How many tokens the model was trained to see at once."""
    vocabulary: int | None
    """How many tokens the model knows."""
    chat_template: str | None = None
    """How messages become a prompt, in Jinja."""
    special_tokens: Mapping[str, str] = field(default_factory=dict)
    """The texts of `bos_token`, `eos_token` and the like, as far as the file has them."""


def check_start(path: Path) -> None:
    """Look at a file's first bytes: cheap enough for an `__init__`.

    Raises:
        FileNotFoundError: There is no such file.
        IsADirectoryError: It is a folder.
        ValueError: It is not a GGUF file of a version that llama.cpp reads.
    """
    if path.is_dir():
        inside = sorted(item.name for item in path.glob("*.gguf"))
        hint = f" It holds: {', '.join(inside)}." if inside else ""
        raise IsADirectoryError(f"model_path {str(path)!r} is a folder; name a .gguf file.{hint}")
    if not path.exists():
        raise FileNotFoundError(f"model_path {str(path)!r}: there is no such file")
    with path.open("rb") as file:
        start = file.read(_HEADER.size)
    if not start:
        raise ValueError(f"model file {str(path)!r} is empty")
    if start[:4] != _MAGIC:
        raise ValueError(
            f"model file {str(path)!r} is not a GGUF file: it starts with {start[:4]!r}, "
            f"not {_MAGIC!r}. Other formats must be converted with llama.cpp's tools first."
        )
    if len(start) < _HEADER.size:
        raise ValueError(f"model file {str(path)!r} is cut off: it has {len(start)} bytes")
    version = _HEADER.unpack(start)[1]
    if version not in _VERSIONS:
        raise ValueError(
            f"model file {str(path)!r} has GGUF version {version}; "
            f"versions {' and '.join(map(str, _VERSIONS))} can be read"
        )


def read_gguf(path: Path) -> Gguf:
    """Read a file's header to its end and check that all tensors are there.

    Raises:
        OSError, ValueError: As for `check_start`, and where the file is cut off or garbled.
    """
    check_start(path)
    stat = path.stat()
    return _read(os.fspath(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=32)
def _read(path: str, size: int, mtime_ns: int) -> Gguf:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        try:
            cursor = _Cursor(view)
            wanted, end = cursor.header()
            special = _special_tokens(wanted, cursor)
        except (struct.error, IndexError, KeyError, UnicodeDecodeError, OverflowError) as error:
            raise ValueError(
                f"model file {path!r} is cut off or garbled: its header does not end within "
                f"its {size} bytes. Fetch the file again."
            ) from error
    if end > size:
        raise ValueError(
            f"model file {path!r} is cut off: its header promises at least {end} bytes, "
            f"the file has {size}. Fetch the file again."
        )
    architecture = str(wanted.get("general.architecture", ""))
    length = wanted.get(f"{architecture}.context_length")
    template = wanted.get("tokenizer.chat_template")
    return Gguf(
        architecture,
        length if isinstance(length, int) else None,
        wanted.get(_TOKENS),
        template if isinstance(template, str) and template.strip() else None,
        special,
    )


def _special_tokens(metadata: Mapping[str, Any], cursor: _Cursor) -> dict[str, str]:
    """Return the texts of the special tokens that a file names."""
    texts = {}
    for name, (key, default) in _SPECIAL.items():
        own = metadata.get("tokenizer.ggml.model") == "llama"
        token = metadata.get(key, default if own else None)
        text = None
        if isinstance(token, int):
            with contextlib.suppress(UnicodeDecodeError):  # a token need not be whole characters
                text = cursor.item(_TOKENS, token)
        if text is not None:
            texts[name] = text
    return texts


class _Cursor:
    """Walks over a header."""

    def __init__(self, view: mmap.mmap) -> None:
        self._view = view
        self._at = 0
        self._arrays: dict[str, tuple[int, list[int]]] = {}
        """Arrays of texts: how many, and where each `_STRIDE`th of them is."""

    def item(self, key: str, index: int) -> str | None:
        """Return a text of an array that was gone past; None if there is none."""
        count, marks = self._arrays.get(key, (0, []))
        if not 0 <= index < count:
            return None
        at = marks[index // _STRIDE]
        for _ in range(index % _STRIDE):
            at += 8 + _LENGTH.unpack_from(self._view, at)[0]
        self._at = at
        return self._text()

    def header(self) -> tuple[dict[str, Any], int]:
        """Return the metadata that is of use and where the last tensor ends, as far as is known."""
        _, _, tensors, pairs = _HEADER.unpack_from(self._view, 0)
        self._at = _HEADER.size
        if max(tensors, pairs) > 1_000_000:
            raise IndexError
        metadata: dict[str, Any] = {}
        for _ in range(pairs):
            key = self._text()
            value = self._value(self._number("I"), key)
            if value is not None:
                metadata[key] = value
        last = max((self._tensor_end() for _ in range(tensors)), default=0)
        alignment = int(metadata.get("general.alignment", 32)) or 32
        data = -(-self._at // alignment) * alignment
        return metadata, data + last

    def _tensor_end(self) -> int:
        self._text()
        dimensions = self._number("I")
        if dimensions > 8:
            raise IndexError
        values = math.prod(self._number("Q") for _ in range(dimensions))
        block, size = _BLOCKS.get(self._number("I"), (max(values, 1), 1))
        return self._number("Q") + values // block * size

    def _number(self, code: str) -> int:
        fmt = "<" + code
        (value,) = struct.unpack_from(fmt, self._view, self._at)
        self._at += struct.calcsize(fmt)
        return int(value)

    def _text(self) -> str:
        length = self._number("Q")
        end = self._at + length
        if end > len(self._view):
            raise IndexError
        text = self._view[self._at : end].decode()
        self._at = end
        return text

    def _value(self, kind: int, key: str) -> Any:
        if kind == _STRING:
            return self._text()
        if kind == _ARRAY:
            return self._skip_array(key)
        code = _SCALARS[kind]
        (value,) = struct.unpack_from("<" + code, self._view, self._at)
        self._at += struct.calcsize("<" + code)
        return value

    def _skip_array(self, key: str = "") -> int:
        """Go past an array; return its length, which is all that is of use."""
        kind, count = self._number("I"), self._number("Q")
        if kind == _STRING:
            # A vocabulary has 10^5 of them: this loop is the header's whole cost.
            view, at, unpack = self._view, self._at, _LENGTH.unpack_from
            marks = []
            for start in range(0, count, _STRIDE):
                marks.append(at)
                for _ in range(min(_STRIDE, count - start)):
                    at += 8 + unpack(view, at)[0]
            self._at = at
            self._arrays[key] = count, marks
        elif kind == _ARRAY:
            for _ in range(count):
                self._skip_array()
        else:
            self._at += count * struct.calcsize("<" + _SCALARS[kind])
        if self._at > len(self._view):
            raise IndexError
        return count
