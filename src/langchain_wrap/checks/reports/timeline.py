"""A streamed call, drawn: what happened when, as an SVG that stands inside a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from langchain_wrap.checks.reports.characters import clipped
from langchain_wrap.checks.result import Moment

_WIDTH, _LEFT, _RIGHT = 760, 92, 16
_LANES = {"callback": 26, "reader": 58}
_AXIS = 84
_HEIGHT = 108
_HALF = 10
"""Half of a mark's height."""


def draw(moments: Sequence[Moment], name: str) -> str:
    """Return an SVG of a streamed call; what a mark carries shows when it is pointed at.

    Args:
        moments: What happened, in order.
        name: What the call was made for, to tell drawings apart by ear.
    """
    if not moments:
        return ""
    scale = _Scale(max(moment.seconds for moment in moments))
    described = describe(moments)
    numbers: dict[str, int] = {}
    marks = []
    for moment in moments:
        numbers[moment.kind] = numbers.get(moment.kind, 0) + 1
        marks.append(_mark(moment, numbers[moment.kind], scale))
    return "\n".join(
        (
            f'<svg class="timeline" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            f'aria-label="{escape(f"Timeline of the streamed call of {name}: {described}")}">',
            *_lanes(),
            *_axis(scale),
            *marks,
            "</svg>",
        )
    )


def describe(moments: Sequence[Moment]) -> str:
    """Return in words what a drawing shows."""
    chunks = [m for m in moments if m.kind == "chunk"]
    tokens = [m for m in moments if m.kind == "token"]
    last = max(moments, key=lambda m: m.seconds, default=None)
    scale = _Scale(last.seconds if last else 0)
    parts = [_count(len(tokens), "token callback"), _count(len(chunks), "chunk")]
    if chunks:
        parts.append(f"the first chunk after {scale.say(chunks[0].seconds)}")
        if len(chunks) > 1:
            parts.append(f"the last after {scale.say(chunks[-1].seconds)}")
    ends = [m for m in moments if m.kind in ("end", "error")]
    parts.append(
        f"{ends[-1].kind} after {scale.say(ends[-1].seconds)}" if ends else "no end was reported"
    )
    return ", ".join(parts)


class _Scale:
    """Seconds as places on the axis, and in the unit that suits their size."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds if seconds > 0 else 1e-6
        self.factor, self.unit = next(
            (factor, unit)
            for least, factor, unit in ((1, 1, "s"), (1e-3, 1e3, "ms"), (0, 1e6, "µs"))
            if self.seconds >= least
        )

    def x(self, seconds: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * max(0.0, seconds) / self.seconds

    def say(self, seconds: float) -> str:
        return f"{seconds * self.factor:.3g} {self.unit}"

    def ticks(self) -> list[float]:
        """Round places on the axis, at most seven."""
        rough = self.seconds * self.factor / 5
        power = 10 ** math.floor(math.log10(rough))
        step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough)
        count = math.floor(self.seconds * self.factor / step + 1e-9)
        return [number * step / self.factor for number in range(count + 1)]


def _lanes() -> list[str]:
    named = (("callback", "callbacks"), ("reader", "reader gets"))
    return [
        f'<text class="lane" x="{_LEFT - 12}" y="{_LANES[lane] + 4}">{said}</text>'
        f'<line class="rail" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" '
        f'y1="{_LANES[lane]}" y2="{_LANES[lane]}"/>'
        for lane, said in named
    ]


def _axis(scale: _Scale) -> list[str]:
    parts = [f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_AXIS}" y2="{_AXIS}"/>']
    for seconds in scale.ticks():
        x = f"{scale.x(seconds):.1f}"
        said = "0" if seconds == 0 else f"{seconds * scale.factor:g} {scale.unit}"
        parts.append(
            f'<line class="axis" x1="{x}" x2="{x}" y1="{_AXIS}" y2="{_AXIS + 4}"/>'
            f'<text class="tick" x="{x}" y="{_AXIS + 18}">{said}</text>'
        )
    return parts


def _mark(moment: Moment, number: int, scale: _Scale) -> str:
    x = scale.x(moment.seconds)
    y = _LANES["reader" if moment.kind == "chunk" else "callback"]
    which = f" {number}" if moment.kind in ("token", "chunk") else ""
    title = f"{moment.kind}{which} at {scale.say(moment.seconds)}"
    if moment.text:
        title = f"{title}: {clipped(repr(moment.text), 160)}"
    shapes = {
        "start": f'<circle cx="{x:.1f}" cy="{y}" r="5"/>',
        "end": f'<rect x="{x - 5:.1f}" y="{y - 5}" width="10" height="10"/>',
        "error": f'<path d="M{x - 6:.1f} {y - 6}l12 12m0-12l-12 12"/>',
    }
    # The wider, unseen line is what a pointer can hit.
    line = f'x1="{x:.1f}" x2="{x:.1f}" y1="{y - _HALF}" y2="{y + _HALF}"'
    shape = shapes.get(moment.kind, f'<line class="hit" {line}/><line {line}/>')
    return f'<g class="mark {escape(moment.kind)}"><title>{escape(title)}</title>{shape}</g>'


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
