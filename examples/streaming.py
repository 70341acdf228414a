"""A class that streams, read by an async program, with a stop across two chunks.

Prints:

    The| tide| comes| in
    on_llm_start, 4 x on_llm_stream, on_llm_end
"""

import asyncio
from collections import Counter

from langchain_wrap import LLM


class Reciter(LLM):
    """Recites a text in pieces of a given size."""

    text: str
    """What to recite."""

    def _stream(self, prompt):
        for word in self.text.split():
            yield word + " "


async def main():
    llm = Reciter(text="The tide comes in and the tide goes out")
    pieces = [piece async for piece in llm.astream("", stop=[" and"])]
    print("|".join(pieces))
    events = Counter(
        [e["event"] async for e in llm.astream_events("", version="v2", stop=[" and"])]
    )
    print(", ".join(name if n == 1 else f"{n} x {name}" for name, n in events.items()))


asyncio.run(main())
