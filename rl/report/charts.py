"""Draws learning curves as inline SVG. Colours are CSS variables of the page, so that one drawing
serves light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

WIDTH, HEIGHT = 340, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 10, 10, 22


class Series(NamedTuple):
    """One line: (step, value) in order; `colour` is the name of a CSS variable of the page."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str


class Frame(NamedTuple):
    """The range of both axes, and its mapping to pixels."""

    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, value: float) -> float:
        return _LEFT + (value - self.x0) / ((self.x1 - self.x0) or 1) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - _BOTTOM - (value - self.y0) / ((self.y1 - self.y0) or 1) * (HEIGHT - _TOP - _BOTTOM)


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Round numbers that cover low..high, about `wanted` of them."""
    if high - low < 1e-12 * max(1.0, abs(high)):
        margin = abs(high) / 2 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / wanted
    power = 10 ** math.floor(math.log10(rough))
    size = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / size + 1e-9), math.ceil(high / size - 1e-9)
    return [round(count * size, 12) for count in range(first, last + 1)]


def smooth(points: Sequence[tuple[float, float]], window: int) -> list[tuple[float, float]]:
    """A centred moving mean over up to `window` points, shorter at both ends."""
    half = window // 2
    result = []
    for place, (x, _) in enumerate(points):
        near = [y for _, y in points[max(0, place - half) : place + half + 1]]
        result.append((x, sum(near) / len(near)))
    return result


def line_chart(
    series: Sequence[Series], label: Callable[[float], str], *, bounds: tuple[float, float] | None = None
) -> Markup:
    """Lines over steps. With many steps each line is a moving mean over the faint raw values; a point's title tells its
    exact number.

    Args:
        series: at least one with at least one point.
        label: writes a value for an axis or a title.
        bounds: the range of the axis where it is known (a share: 0 and 1); it is never left, and need not be filled.
    """
    values = [y for one in series for _, y in one.points]
    steps = [x for one in series for x, _ in one.points]
    marks = ticks(*_wide_enough(min(values), max(values)))
    if bounds is not None:
        marks = [mark for mark in marks if bounds[0] - 1e-9 <= mark <= bounds[1] + 1e-9] or list(bounds)
        marks = sorted(
            {*marks, *(bounds[:1] if min(values) < marks[0] else ()), *(bounds[1:] if max(values) > marks[-1] else ())}
        )
    frame = Frame(min(steps), max(steps), marks[0], marks[-1])
    parts = [_axes(frame, marks, label)]
    window = max(1, len({*steps}) // 12) | 1
    for one in series:
        parts.append(_line(frame, one, label, window))
    return _svg(parts)


def _wide_enough(low: float, high: float) -> tuple[float, float]:
    """A range of at least a fifth of its values, so that noise around a level looks like noise."""
    missing = 0.2 * max(abs(low), abs(high)) - (high - low)
    if missing <= 0:
        return low, high
    return max(0.0, low - missing / 2) if low >= 0 else low - missing / 2, high + missing / 2


def area_chart(series: Sequence[Series], label: Callable[[float], str]) -> Markup:
    """Shares stacked to 1 over steps, the first at the bottom. All series have the same steps."""
    steps = [x for x, _ in series[0].points]
    frame = Frame(min(steps), max(steps), 0.0, 1.0)
    parts: list[Markup] = []
    below = [0.0] * len(steps)
    for one in series:
        above = [low + max(0.0, value) for low, (_, value) in zip(below, one.points, strict=True)]
        if len(steps) == 1:
            corners = [(_LEFT, above[0]), (WIDTH - _RIGHT, above[0]), (WIDTH - _RIGHT, below[0]), (_LEFT, below[0])]
            outline = " ".join(f"{x:.1f},{frame.y(y):.1f}" for x, y in corners)
        else:
            there = [f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in zip(steps, above, strict=True)]
            back = [f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in zip(steps, below, strict=True)]
            outline = " ".join(there + back[::-1])
        parts.append(
            Markup('<polygon points="{}" fill="var({})" class="area"><title>{}</title></polygon>').format(
                outline, one.colour, one.name
            )
        )
        below = above
    return _svg([*parts, _axes(frame, [0.0, 0.5, 1.0], label)])


def _svg(parts: Sequence[Markup]) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" class="chart">{}</svg>').format(
        WIDTH, HEIGHT, Markup("").join(parts)
    )


def _axes(frame: Frame, marks: Sequence[float], label: Callable[[float], str]) -> Markup:
    parts = []
    for mark in marks:
        y = f"{frame.y(mark):.1f}"
        parts.append(Markup('<line x1="{}" x2="{}" y1="{}" y2="{}" class="grid"/>').format(_LEFT, WIDTH - _RIGHT, y, y))
        parts.append(
            Markup('<text x="{}" y="{}" class="tick end">{}</text>').format(
                _LEFT - 6, f"{frame.y(mark) + 3.5:.1f}", label(mark)
            )
        )
    ends = [(frame.x0, "start"), (frame.x1, "end")] if frame.x1 > frame.x0 else [(frame.x0, "start")]
    for step, anchor in ends:
        text = f"step {step:g}" if anchor == "start" else f"{step:g}"
        parts.append(
            Markup('<text x="{}" y="{}" class="tick {}">{}</text>').format(
                f"{frame.x(step):.1f}", HEIGHT - 6, anchor, text
            )
        )
    return Markup("").join(parts)


def _line(frame: Frame, one: Series, label: Callable[[float], str], window: int) -> Markup:
    style = Markup('style="--line:var({})"').format(one.colour)
    parts = []
    if window > 1:
        parts.append(Markup('<polyline points="{}" class="raw" {}/>').format(_path(frame, one.points), style))
    parts.append(
        Markup('<polyline points="{}" class="line" {}/>').format(_path(frame, smooth(one.points, window)), style)
    )
    last_x, last_y = smooth(one.points, window)[-1]
    parts.append(
        Markup('<circle cx="{}" cy="{}" r="3.5" class="dot" {}/>').format(
            f"{frame.x(last_x):.1f}", f"{frame.y(last_y):.1f}", style
        )
    )
    for x, y in one.points:
        title = escape(f"step {x:g}: {one.name} {label(y)}")
        parts.append(
            Markup('<circle cx="{}" cy="{}" r="5" class="hit"><title>{}</title></circle>').format(
                f"{frame.x(x):.1f}", f"{frame.y(y):.1f}", title
            )
        )
    return Markup("").join(parts)


def _path(frame: Frame, points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in points)
