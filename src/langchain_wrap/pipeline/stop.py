"""Stop sequences: literal text that ends a completion.

The match that is *complete* first wins; of two that are complete at the same character, the
longer. Only this rule makes the text independent of how it was cut into chunks: with the stops
`abcd` and `c`, the text `abcd` ends before `c`, because that is known before the `d` has come.

The matcher is the automaton of Aho and Corasick ("Efficient string matching", CACM 18(6), 1975).
The depth of its state is the length of the longest end of the text that may still become a stop,
which is exactly what has to be held back.
"""

from __future__ import annotations

from collections.abc import Sequence


def merge_stops(field: object, call: object) -> list[str]:
    """Return the stops of a model and of a call as one new list, in order and without doubles.

    Each may be None, one string, or a sequence of strings.

    Raises:
        TypeError: A stop is not a string.
        ValueError: A stop is the empty string.
    """
    merged: dict[str, None] = {}
    for stops in (field, call):
        if stops is None:
            continue
        if isinstance(stops, str):
            stops = [stops]
        if not isinstance(stops, Sequence):
            raise TypeError(f"stop must be a list of strings, not {type(stops).__name__}")
        for stop in stops:
            if not isinstance(stop, str):
                raise TypeError(
                    f"stop must be a list of strings; it holds {stop!r} ({type(stop).__name__})"
                )
            if not stop:
                raise ValueError(
                    "a stop sequence is the empty string, which would end every completion "
                    "before it begins; leave it out, or pass stop=None for none"
                )
            merged[stop] = None
    return list(merged)


class _State:
    __slots__ = ("depth", "match", "next")

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.match: str | None = None
        self.next: dict[str, _State] = {}


def _automaton(stops: Sequence[str]) -> _State:
    root = _State(0)
    for stop in stops:
        state = root
        for character in stop:
            state = state.next.setdefault(character, _State(state.depth + 1))
        state.match = stop
    # Breadth first: by the time a state is reached, all shorter ones are complete. Each state
    # takes over the steps of the state for its longest proper ending, so that feeding a
    # character is one look-up.
    queue = [(child, root) for child in root.next.values()]
    for state, ending in queue:
        queue += [(child, ending.next.get(c, root)) for c, child in state.next.items()]
        state.match = state.match or ending.match
        state.next = {**ending.next, **state.next}
    return root


class StopFilter:
    """Cuts a stream of text at the first stop; a pure object, fed piece by piece.

    Args:
        stops: The stop sequences, none of them empty.
        include_stop: Whether the stop itself stays in the text.
    """

    def __init__(self, stops: Sequence[str], *, include_stop: bool = False) -> None:
        self._root = _automaton(stops)
        self._state = self._root
        self._first = frozenset(stop[0] for stop in stops)
        self._held = ""
        self._include_stop = include_stop
        self.hit: str | None = None
        """The stop that has fired; nothing may be fed after that."""

    def feed(self, text: str) -> str:
        """Take the next piece of text; return what can go out now."""
        state = self._state
        if not state.depth and self._first.isdisjoint(text):
            return text
        root = self._root
        for position, character in enumerate(text, 1):
            state = state.next.get(character) or root.next.get(character, root)
            if state.match is not None:
                return self._stop(state.match, self._held + text[:position])
        self._state = state
        text = self._held + text
        out = len(text) - state.depth
        self._held = text[out:]
        return text[:out]

    def flush(self) -> str:
        """Return what was held back, at the end of the text."""
        held, self._held = self._held, ""
        return held

    def _stop(self, stop: str, text: str) -> str:
        self.hit = stop
        self._held = ""
        return text if self._include_stop else text[: -len(stop)]
