"""`python -m benchmarks`: measure everything in one run and write docs/benchmarks.md."""

import importlib.util
import platform
import sys
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path

from benchmarks import chat, core
from benchmarks.measure import Row

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `make bench`: every line is measured in one run, ours and the reference in turn, and
shows medians. Ratios can be compared between machines; times cannot.

"""


def all_rows() -> Iterator[Row]:
    yield from core.rows()
    if importlib.util.find_spec("langchain_openai") is None:
        print("HTTPEndpoint's rows are left out: no langchain-openai is installed", file=sys.stderr)
    else:
        from benchmarks import http

        yield from http.rows()
    if importlib.util.find_spec("xllamacpp") is None:
        print("the rows of LlamaCpp are left out: xllamacpp is not installed", file=sys.stderr)
    else:
        from benchmarks import llama_cpp

        yield from llama_cpp.rows()
    if importlib.util.find_spec("langchain_huggingface") is None:
        print("the rows of Transformers are left out: run `make bench`", file=sys.stderr)
    else:
        from benchmarks import transformers

        yield from transformers.rows()


def line(row: Row) -> str:
    return (
        f"| {row.work} | {row.ours:.4g} {row.unit} | {row.reference:.4g} {row.unit} "
        f"({row.against}) | **{row.ratio:.2f}** | {row.goal} | {'yes' if row.met else 'no'} |"
    )


def main() -> None:
    lines = [
        "| work | ours | reference | ratio | goal | met |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in all_rows():
        lines.append(line(row))
        print(lines[-1], flush=True)
    where = (
        f"\n{date.today():%Y-%m-%d}, Python {platform.python_version()}, langchain-core "
        f"{version('langchain-core')}, {platform.machine()}.\n"
    )
    PAGE.write_text(HEAD + "\n".join(lines) + "\n" + where, encoding="utf-8")
    chat.write()


if __name__ == "__main__":
    main()
