"""The one pipeline behind every path of `LLM`: one noun a file.

It is written once, as coroutines, and driven by two shells (`shell.py`). In the sync shell
nothing ever suspends: what would be awaited blocks instead, so a coroutine runs to its end in
one step (`run_sync`). In the async shell the same code awaits.
"""
