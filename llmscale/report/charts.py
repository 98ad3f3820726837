"""Charts of the report's page, as SVG that stands in it: no script, no style of its own.

Colours are classes (`c0`, `c1`, ...) that the page's style sheet gives for light and dark. All text
is escaped. Knows lists of numbers, and nothing of reports.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from llmscale.report.figures import span

WIDTH, HEIGHT = 720, 220
MIN_DRAWN = 1e-12  # what is less is drawn as nothing
LEFT, RIGHT, TOP, BOTTOM = 88, 8, 16, 34  # of the plot, from the edges
_PLOT_WIDTH, _PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM


class ChartLine(NamedTuple):
    """A figure over time, one value for each step."""

    name: str
    colour: str  # a class of the style sheet
    values: Sequence[float]


class Mark(NamedTuple):
    """A place on the axis of a histogram, with its name."""

    name: str
    at: float


class Part(NamedTuple):
    """A part of a whole, or a bar among others."""

    name: str
    colour: str
    value: float
    text: str


def over_time(lines: Sequence[ChartLine], step_s: float) -> Markup:
    """Return lines over the seconds of a run; the area below each is filled."""
    total_s = step_s * max((len(line.values) for line in lines), default=0)
    ticks = nice_ticks(max((max(line.values, default=0.0) for line in lines), default=0.0))
    inside = [_grid(ticks), *(_path(line, ticks[-1]) for line in lines)]
    if total_s:
        ticks_s = nice_ticks(total_s, 6, base=60 if total_s > 120 else 10)
        inside += [_time_tick(at_s, total_s) for at_s in ticks_s if at_s <= total_s]
    return _svg(f"{', '.join(line.name for line in lines)} over time", inside)


def histogram(uppers: Sequence[float], counts: Sequence[float], marks: Sequence[Mark]) -> Markup:
    """Return how many there are up to each bound, with `marks` on the axis of the bounds."""
    ticks = nice_ticks(max(counts, default=0.0))
    width = _PLOT_WIDTH / max(1, len(counts))
    inside = [_grid(ticks)]
    for number, (upper, count) in enumerate(zip(uppers, counts, strict=True)):
        height = _PLOT_HEIGHT * count / ticks[-1]
        inside.append(
            Markup(
                '<rect class="f0" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
                "<title>up to {}: {:,.0f}</title></rect>"
            ).format(
                LEFT + number * width,
                TOP + _PLOT_HEIGHT - height,
                max(0.5, width - 1),
                height,
                span(upper),
                count,
            )
        )
        if number % max(1, -(-len(counts) // 8)) == 0:
            inside.append(_label(LEFT + (number + 0.5) * width, span(upper)))
    marked: dict[int, list[str]] = {}
    for mark in marks:
        number = next((n for n, upper in enumerate(uppers) if upper >= mark.at), len(uppers) - 1)
        marked.setdefault(number, []).append(mark.name)
    inside += [_mark(LEFT + (n + 0.5) * width, ", ".join(names)) for n, names in marked.items()]
    return _svg("distribution of latency", inside)


def stacked(parts: Sequence[Part]) -> Markup:
    """Return one bar that is the whole, cut into its parts."""
    total = sum(part.value for part in parts) or 1.0
    x, inside = 0.0, []
    for part in parts:
        width = WIDTH * part.value / total
        inside.append(
            Markup(
                '<rect class="{}" x="{:.2f}" y="0" width="{:.2f}" height="28">'
                "<title>{}: {}</title></rect>"
            ).format(part.colour, x, width, part.name, part.text)
        )
        x += width
    return _svg("parts of the time", inside, height=28)


def bars(parts: Sequence[Part]) -> Markup:
    """Return a bar for each part, its name before and its text behind it."""
    most = max((part.value for part in parts), default=0.0) or 1.0
    inside = []
    for number, part in enumerate(parts):
        y = number * 26
        width = (WIDTH - 430) * part.value / most
        inside.append(
            Markup(
                '<text class="name" x="0" y="{y}">{name}</text>'
                '<rect class="{colour}" x="230" y="{top}" width="{width:.1f}" height="16"/>'
                '<text x="{end:.1f}" y="{y}">{text}</text>'
            ).format(
                y=y + 15,
                top=y + 3,
                name=_short(part.name),
                colour=part.colour,
                width=max(1.0, width),
                end=238 + width,
                text=part.text,
            )
        )
    return _svg("bars", inside, height=max(26, 26 * len(parts)))


def nice_ticks(top: float, count: int = 4, base: int = 10) -> list[float]:
    """Return round numbers from 0 up to `top` or a little above, about `count` of them.

    Source: P. S. Heckbert, "Nice Numbers for Graph Labels", Graphics Gems, 1990. With a `base` of
    60, seconds become whole minutes or hours.
    """
    if top < MIN_DRAWN:
        return [0.0, 1.0]
    rough = top / count
    unit = 1.0
    if base == 60:
        unit = 60.0 if rough < 1800 else 3600.0
    power = 10.0 ** math.floor(math.log10(rough / unit))
    step = next(s for s in (1, 2, 5, 10) if s * power * unit >= rough * 0.999) * power * unit
    return [number * step for number in range(math.ceil(top / step - 1e-9) + 1)]


def _grid(ticks: Sequence[float]) -> Markup:
    lines = []
    for tick in ticks:
        y = TOP + _PLOT_HEIGHT * (1 - tick / ticks[-1])
        lines.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>'
                '<text class="end" x="{}" y="{below:.1f}">{:g}</text>'
            ).format(LEFT, WIDTH - RIGHT, LEFT - 6, tick, y=y, below=y + 4)
        )
    return Markup("").join(lines)


def _time_tick(at_s: float, total_s: float) -> Markup:
    return _label(LEFT + _PLOT_WIDTH * at_s / total_s, span(at_s))


def _label(x: float, text: str) -> Markup:
    return Markup('<text class="middle" x="{:.1f}" y="{}">{}</text>').format(x, HEIGHT - 6, text)


def _path(line: ChartLine, top: float) -> Markup:
    """Draw a line through the middle of each step."""
    if not line.values:
        return Markup("")
    width = _PLOT_WIDTH / len(line.values)
    points = [
        f"{LEFT + (n + 0.5) * width:.1f},{TOP + _PLOT_HEIGHT * (1 - value / top):.1f}"
        for n, value in enumerate(line.values)
    ]
    first, last = points[0].partition(",")[0], points[-1].partition(",")[0]
    floor = TOP + _PLOT_HEIGHT
    return Markup(
        '<path class="area {colour}" d="M{first},{floor} L{points} L{last},{floor} Z"/>'
        '<polyline class="line {colour}" points="{points}"><title>{name}</title></polyline>'
    ).format(
        colour=line.colour,
        first=first,
        last=last,
        floor=floor,
        points=" ".join(points),
        name=line.name,
    )


def _mark(x: float, names: str) -> Markup:
    """Draw a line in a bin, with its names on the side where there is space."""
    side = "end" if x > WIDTH * 0.9 else "start"
    return Markup(
        '<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{floor}"/>'
        '<text class="{side} mark" x="{beside:.1f}" y="{below}">{names}</text>'
    ).format(
        x=x,
        top=TOP,
        floor=TOP + _PLOT_HEIGHT,
        side=side,
        beside=x + (-5 if side == "end" else 5),
        below=TOP + 8,
        names=names,
    )


def _short(name: str) -> str:
    return name if len(name) <= 34 else name[:33] + "…"


def _svg(label: str, inside: Sequence[Markup], height: int = HEIGHT) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, label, Markup("").join(inside)
    )
