"""The command `langchain-wrap`; typer and rich, which it needs, are the extra `cli`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    try:
        from langchain_wrap.commands import app
    except ImportError as error:
        if error.name not in {"rich", "typer"}:
            raise
        from langchain_wrap.errors import MissingExtraError

        sys.exit(f"error: {MissingExtraError('The command line', 'cli')}")
    try:
        app()
    except KeyboardInterrupt:  # outside of a command, such as while Python still imports
        sys.exit(130)
